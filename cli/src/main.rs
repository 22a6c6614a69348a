//! The command line: parse, then hand over.
fn main() {}
