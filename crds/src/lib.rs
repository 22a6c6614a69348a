//! The kinds of llmroute as types, and the CRDs that are generated from them:
//! bounds, CEL rules, defaults, printer columns, conditions and reasons.
//!
//! A manifest that an API server took under these CRDs fits these types. What a
//! field means, and what it needs from other objects, is the operator's to
//! judge; nothing here reads a cluster, a clock or the environment.

mod conditions;
mod crd;
mod duration;
mod money;
pub mod provider;
pub mod route;
mod schema;
mod selector;

pub use conditions::{condition, pending, reason};
pub use crd::{FIELD_MANAGER, GROUP, VERSION, provider_crd, route_crd};
pub use duration::{Duration, DurationError};
pub use money::{Money, MoneyError};
pub use provider::{LLMProvider, LLMProviderSpec, LLMProviderStatus};
pub use route::{LLMRoute, LLMRouteSpec, LLMRouteStatus};
pub use schema::cure;
pub use selector::{LabelSelector, Operator, Requirement};

/// A condition as every kind carries it.
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
