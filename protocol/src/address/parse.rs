//! The grammar of addresses, RFC 5321 section 4.1.2.

use super::{Charset, Domain, Mailbox};

pub(super) fn whole_mailbox(_text: &[u8], _charset: Charset) -> Option<Mailbox<'_>> {
    unimplemented!()
}

pub(super) fn whole_domain(_text: &[u8], _charset: Charset) -> Option<Domain<'_>> {
    unimplemented!()
}
