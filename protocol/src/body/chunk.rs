//! Counting a chunk down: the body that follows BDAT.
