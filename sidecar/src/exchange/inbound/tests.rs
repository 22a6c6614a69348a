//! What is refused before it is routed.
