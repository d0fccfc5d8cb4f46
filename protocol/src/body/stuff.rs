//! Putting the dots in: the body as DATA wants it.
