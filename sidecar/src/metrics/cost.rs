//! Money, counted in integers: a float counter would lose the cheap calls
//! beside the dear ones.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};

use super::CALL;
use crate::meter::PicoUsd;

const NAME: &str = "llmroute_cost_usd_total";
const HELP: &str = "What calls cost, in USD; calls of unknown price are not in it";
const PICO_PER_MICRO: u64 = 1_000_000;
const MICRO_PER_USD: u64 = 1_000_000;

/// The family.
#[derive(Clone)]
pub(super) struct CostFamily {
    children: Arc<Mutex<Vec<Child>>>,
    desc: Desc,
}

struct Child {
    labels: [Box<str>; 3],
    spent: Arc<Spent>,
}

/// One child. The parts are kept apart, so that neither can overflow before a
/// pod has spent eighteen trillion dollars.
#[derive(Debug, Default)]
pub(super) struct Spent {
    micro: AtomicU64,
    /// Below one micro-USD.
    pico: AtomicU64,
}

// ---------------------------------------------------------------- impl CostFamily

impl CostFamily {
    pub(super) fn register(registry: &Registry) -> Self {
        let labels = CALL.map(String::from).to_vec();
        let family = Self {
            children: Arc::default(),
            desc: Desc::new(NAME.into(), HELP.into(), labels, HashMap::default())
                .expect("a valid name"),
        };
        registry
            .register(Box::new(family.clone()))
            .expect("each family has a name of its own");
        family
    }

    pub(super) fn of(&self, labels: [&str; 3]) -> Arc<Spent> {
        let spent = Arc::<Spent>::default();
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.push(Child {
            labels: labels.map(Box::from),
            spent: spent.clone(),
        });
        spent
    }
}

impl Collector for CostFamily {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let mut family = MetricFamily::default();
        family.set_name(NAME.into());
        family.set_help(HELP.into());
        family.set_field_type(MetricType::COUNTER);
        family.set_metric(children.iter().map(Child::metric).collect());
        vec![family]
    }
}

impl Child {
    fn metric(&self) -> Metric {
        let pairs = CALL.iter().zip(&self.labels).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).into());
            pair.set_value(value.to_string());
            pair
        });
        let mut counter = Counter::default();
        counter.set_value(self.spent.usd());
        let mut metric = Metric::from_label(pairs.collect());
        metric.set_counter(counter);
        metric
    }
}

// ---------------------------------------------------------------- impl Spent

impl Spent {
    pub(super) fn add(&self, cost: PicoUsd) {
        let PicoUsd(pico) = cost;
        let per_micro = u128::from(PICO_PER_MICRO);
        let rest = u64::try_from(pico % per_micro).unwrap_or_default();
        let before = self.pico.fetch_add(rest, Relaxed);
        let carried = (before + rest) / PICO_PER_MICRO;
        if carried > 0 {
            self.pico.fetch_sub(carried * PICO_PER_MICRO, Relaxed);
        }
        let micro = u64::try_from(pico / per_micro).unwrap_or(u64::MAX / 2);
        self.micro.fetch_add(micro + carried, Relaxed);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "Prometheus has floats only; whole and fraction are turned apart, once, when read"
    )]
    fn usd(&self) -> f64 {
        let micro = self.micro.load(Relaxed);
        let whole = (micro / MICRO_PER_USD) as f64;
        let fraction = (micro % MICRO_PER_USD * PICO_PER_MICRO + self.pico.load(Relaxed)) as f64;
        whole + fraction / 1e12
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_cheap_calls_add_up_exactly() {
        let spent = Spent::default();
        spent.add(PicoUsd(123_456_789 * 1_000_000_000_000));
        for _ in 0..1_000_000 {
            spent.add(PicoUsd(1_500_001));
        }
        assert_eq!(
            spent.micro.load(Relaxed),
            123_456_789 * 1_000_000 + 1_500_001
        );
        assert_eq!(spent.pico.load(Relaxed), 0);
    }

    #[test]
    fn an_absurd_amount_saturates_instead_of_panicking() {
        let spent = Spent::default();
        spent.add(PicoUsd(u128::MAX));
        assert!(spent.usd() > 1e12);
    }
}
