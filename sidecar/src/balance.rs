//! Which of a rule's targets a call goes to.
//!
//! Priority first, then weight; what failed several times in a row, or said when
//! it wants to be asked again, is left out for a while; what this call tried
//! already comes last. All of it is told by the calls themselves. This room
//! sends nothing and decides nothing about whether there is another try.

mod health;
mod pick;

pub use health::{Health, HealthPolicy, Outcome};
pub use pick::{NoTarget, Pick, Tried, pick};

#[cfg(test)]
mod tests;
