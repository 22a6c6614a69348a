//! One call, from its head to the end of its answer.
//!
//! 1. The request is checked, its body read once and bounded, what routing
//!    needs is found in it (`inbound`).
//! 2. One snapshot of the table says which rule it belongs to.
//! 3. Targets are tried until one answers, within one deadline (`attempts`).
//!    After the first byte to the client there is no other try.
//! 4. The answer is relayed as it comes (`relay`) while its usage is read on
//!    the side.
//! 5. Whatever ends the call, its end, an error or the client's leaving, the
//!    `Call` that travels with it is dropped exactly once: permit,
//!    health, metrics and log line are settled there.
//!
//! This room knows no wire format (a dialect does), no connection (`upstream`
//! does) and chooses no target (`balance` does).

mod answer;
mod attempt;
mod attempts;
mod call;
mod clues;
mod decode;
mod headers;
mod inbound;
mod mask;
mod models;
mod relay;
mod source;

use std::sync::{Arc, Mutex, PoisonError};

use fastrand::Rng;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::access_log::AccessLog;
use crate::dialect::openai::Path;
use crate::error::ApiError;
use crate::meter::Estimator;
use crate::metrics::Metrics;
use crate::server::{Drain, Handler};
use crate::table::Config;

use call::Call;
pub use relay::ClientBody;

#[cfg(test)]
mod tests;

/// What all calls share.
pub struct Exchange {
    config: Config,
    metrics: Metrics,
    log: AccessLog,
    drain: Drain,
    estimator: Estimator,
    /// Each call forks its own.
    rng: Mutex<Rng>,
}

impl Exchange {
    /// An exchange that serves what `config` says.
    pub fn new(config: Config, metrics: Metrics, log: AccessLog, drain: Drain, rng: Rng) -> Self {
        Self {
            config,
            metrics,
            log,
            drain,
            estimator: Estimator::default(),
            rng: Mutex::new(rng),
        }
    }

    fn rng(&self) -> Rng {
        self.rng
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fork()
    }

    async fn serve(
        self: &Arc<Self>,
        request: Request<Incoming>,
        call: &mut Option<Box<Call>>,
    ) -> Result<Response<ClientBody>, ApiError> {
        let (parts, body) = request.into_parts();
        inbound::check_head(&parts)?;
        let path = Path::parse(parts.uri.path()).ok_or(ApiError::UnknownPath)?;
        let told = match path {
            Path::Call(operation) => {
                held(call).operation(operation.name());
                inbound::check_call(&parts)?;
                return attempts::run(self, call, operation, parts.headers, body).await;
            }
            Path::Models => {
                held(call).operation("models");
                inbound::check_get(&parts)?;
                models::list(self, &parts.headers)?
            }
            Path::Model(name) => {
                held(call).operation("models");
                inbound::check_get(&parts)?;
                models::one(self, &parts.headers, &name)?
            }
        };
        let call = call.take().expect("only an answer takes the call along");
        Ok(call.tell(told))
    }
}

/// The call, until its answer has taken it along.
fn held(call: &mut Option<Box<Call>>) -> &mut Box<Call> {
    call.as_mut().expect("only an answer takes the call along")
}

impl Handler for Exchange {
    type Body = ClientBody;

    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<ClientBody> {
        let mut call = Some(Call::begin(&self));
        let ending = self.drain.ending();
        let served = tokio::select! {
            biased;
            served = self.serve(request, &mut call) => served,
            () = ending => Err(ApiError::ShuttingDown),
        };
        match (served, call) {
            (Ok(answer), _) => answer,
            (Err(error), Some(call)) => call.refuse(&error),
            // An answer that took the call along and failed then: a defect.
            (Err(error), None) => Call::begin(&self).refuse(&error),
        }
    }
}
