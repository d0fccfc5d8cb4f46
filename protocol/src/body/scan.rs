//! One pass over the bytes of a body.
