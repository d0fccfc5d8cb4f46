//! The network between the machines of a world: streams and datagrams that are late, cut and lost as the
//! seed and the caller will have it.
