//! The table by its outside: what is pushed, what is acknowledged, what a call
//! then finds.

mod apply;
mod fuzz;
mod matching;
mod refusals;
