//! What MX records say about a domain. Pure; no lookups.

use super::Name;
use std::rc::Rc;

/// Who takes mail for a domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mx {
    /// These hosts, lowest preference first; equal ones in the order of their names: the caller
    /// shuffles them. Never empty.
    Hosts(Rc<[Exchanger]>),
    /// The domain says that it takes no mail.
    Null,
    /// There is no MX record but the domain exists: it is its own mail host.
    Implicit,
    /// There is no such domain.
    NoSuchDomain,
}

/// One mail host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Exchanger {
    /// Lower is tried first.
    pub preference: u16,
    /// Its name, in lower case, without a final dot.
    pub host: Name,
}
