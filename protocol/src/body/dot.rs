//! Taking the dots away: the body that follows DATA.
