//! What MX records say about a domain. Pure; no lookups.

use super::query::Data;
use super::{DnsError, Name};
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
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Exchanger {
    /// Lower is tried first.
    pub preference: u16,
    /// Its name, in lower case, without a final dot.
    pub host: Name,
}

/// Reads the answer to a question for MX records: sorted, without duplicates, with the root among the
/// hosts where a record names it.
pub fn decide(data: &Data) -> Result<Mx, DnsError> {
    match data {
        Data::NoSuchDomain => Ok(Mx::NoSuchDomain),
        //= RFC 5321 section 5.1: an empty list of MXs is treated as one MX of preference 0 that
        // points to the domain itself
        Data::Empty => Ok(Mx::Implicit),
        Data::Exchangers(hosts) => match &**hosts {
            //= RFC 7505 section 3: one MX with preference 0 and the root as its host: no mail here.
            // Any other preference is read alike, since the root is no host either.
            [only] if only.host.is_root() => Ok(Mx::Null),
            all if all.iter().any(|each| each.host.is_root()) => {
                //= RFC 7505 section 3: a null MX beside others breaks the rule; the others count
                let rest: Rc<[Exchanger]> = all
                    .iter()
                    .filter(|each| !each.host.is_root())
                    .cloned()
                    .collect();
                if rest.is_empty() {
                    Ok(Mx::Null)
                } else {
                    Ok(Mx::Hosts(rest))
                }
            }
            //= RFC 5321 section 5.1: with MX records of which none is usable the address records
            // are not used: an error
            [] => Err(DnsError::NoUsableExchanger),
            _ => Ok(Mx::Hosts(hosts.clone())),
        },
        Data::Addresses(_) | Data::Texts(_) | Data::Names(_) | Data::Alias(_) => {
            unreachable!("asked for MX records, interpreted as something else")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchangers(list: &[(u16, &str)]) -> Rc<[Exchanger]> {
        let host = |text: &str| {
            if text == "." {
                Name::root()
            } else {
                Name::parse(text).unwrap()
            }
        };
        list.iter()
            .map(|(preference, text)| Exchanger {
                preference: *preference,
                host: host(text),
            })
            .collect()
    }

    type Row<'r> = (&'r [(u16, &'r str)], Result<Mx, DnsError>);

    #[test]
    fn who_takes_mail() {
        let hosts = |list: &[(u16, &str)]| Ok(Mx::Hosts(exchangers(list)));
        let cases: &[Row<'_>] = &[
            (
                &[(10, "a.example"), (20, "b.example")],
                hosts(&[(10, "a.example"), (20, "b.example")]),
            ),
            (&[(0, ".")], Ok(Mx::Null)),
            (&[(10, ".")], Ok(Mx::Null)),
            (&[(0, "."), (10, ".")], Ok(Mx::Null)),
            (&[(0, "."), (10, "a.example")], hosts(&[(10, "a.example")])),
            (&[], Err(DnsError::NoUsableExchanger)),
        ];
        for (list, want) in cases {
            assert_eq!(
                decide(&Data::Exchangers(exchangers(list))),
                *want,
                "{list:?}"
            );
        }
        assert_eq!(decide(&Data::Empty), Ok(Mx::Implicit));
        assert_eq!(decide(&Data::NoSuchDomain), Ok(Mx::NoSuchDomain));
    }
}
