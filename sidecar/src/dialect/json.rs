//! A JSON scanner that is fed in pieces, builds nothing and allocates nothing.
