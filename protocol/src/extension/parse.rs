//! Reading what a server announced.
