//! Single moves of the session that touch no state.
