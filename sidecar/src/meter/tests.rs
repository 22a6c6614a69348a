//! The rules of money, one test each.
