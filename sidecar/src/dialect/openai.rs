//! The OpenAI shape: chat/completions, completions, embeddings, responses, models.
//!
//! Same dialect in and out: a client's bytes go upstream as they came but for
//! the model's name and `stream_options`, the answer's bytes come back as they
//! came but for the usage chunk that only we asked for. Neither body is ever
//! built into a tree; both are read by one bounded scanner as they pass.

mod answer;
mod emit;
mod operation;
mod request;
mod splice;

pub use answer::{Answer, AnswerError, Ending, Reading, Shape};
pub use emit::{ErrorBody, ListedModel, error_body, model_body, models_body};
pub use operation::{Operation, Path};
pub use request::{Head, RequestError};
pub use splice::Splice;
