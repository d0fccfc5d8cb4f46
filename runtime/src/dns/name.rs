//! Domain names as this crate keeps them: checked, ASCII, lower case, no final dot. Pure.

use std::rc::Rc;

/// A checked domain name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(Rc<str>);

impl Name {
    /// Takes the written form, with or without its final dot; U-labels become A-labels.
    pub fn parse(text: &str) -> Option<Self> {
        let _ = text;
        unimplemented!()
    }

    /// The name without a final dot; the root is the empty string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
