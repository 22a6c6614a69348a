//! The wire shapes of LLM APIs: one folder each.
//!
//! A dialect finds in a request what routing needs, writes what must differ
//! upstream, reads usage from the answer as it passes, and words errors as its
//! clients expect them. It opens no connection and knows no route.

mod json;
pub mod mock;
pub mod openai;
