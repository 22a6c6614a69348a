//! Placeholder head.

pub mod crd_cases;
