//! Which target a call goes to, by the outside: a rule that was pushed, calls
//! that ended, the next choice.

use std::time::Duration;

use fastrand::Rng;
use llmroute_protocol as proto;
use llmroute_protocol::Resource;
use proptest::prelude::*;
use tokio::time::{Instant, advance};

use super::{NoTarget, Outcome, Pick, Tried, pick};
use crate::table::Config;
use crate::table::fixture::{
    config, credential, delta, of_provider, of_route, open_provider, provider, route, rule,
    rule_for, snapshot, target,
};

/// Open providers `a`, `b`, … behind one rule, with (weight, priority) each.
fn targets(shares: &[(u32, u32)]) -> Config {
    let names: Vec<_> = (b'a'..)
        .map(|c| char::from(c).to_string())
        .take(shares.len())
        .collect();
    let target = |(name, (weight, priority)): (&String, &(u32, u32))| proto::Target {
        weight: *weight,
        priority: *priority,
        ..target(name)
    };
    let targets: Vec<_> = names.iter().zip(shares).map(target).collect();
    let config = config();
    let providers = names.iter().map(|name| of_provider(open_provider(name)));
    config.apply(snapshot(
        providers.chain([of_route(route("chat", [rule("any", [], targets)]))]),
    ));
    config
}

struct Caller {
    config: Config,
    rng: Rng,
    tried: Tried,
}

impl Caller {
    fn new(config: Config) -> Self {
        Self {
            config,
            rng: Rng::with_seed(42),
            tried: Tried::default(),
        }
    }

    /// The next try of the same call.
    fn again(&mut self) -> Result<Pick, NoTarget> {
        let rule = rule_for(&self.config, "gpt");
        pick(&rule, "gpt", &mut self.tried, Instant::now(), &mut self.rng)
    }

    /// The first try of a new call.
    fn call(&mut self) -> Result<Pick, NoTarget> {
        self.tried = Tried::default();
        self.again()
    }

    /// The index of the target of a new call.
    fn target(&mut self) -> usize {
        self.call().expect("a target").target
    }

    /// A new call that ends with `outcome`; its target.
    fn ends(&mut self, outcome: Outcome) -> usize {
        let pick = self.call().expect("a target");
        pick.record(outcome, Instant::now());
        pick.target
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_lowest_priority_takes_all_and_a_failure_moves_on() {
    let mut caller = Caller::new(targets(&[(1, 1), (1, 0), (1, 2)]));
    for _ in 0..20 {
        assert_eq!(caller.target(), 1);
    }
    let order: Vec<_> = (0..3)
        .map(|_| caller.again().expect("a target").target)
        .collect();
    assert_eq!(order[..2], [0, 2], "another target first, by priority");
    assert_eq!(order[2], 1, "then what was tried least, by priority");
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_eject_for_a_while_that_doubles_up_to_a_limit() {
    let mut caller = Caller::new(targets(&[(1, 0), (1, 1)]));
    assert_eq!(caller.ends(Outcome::ServerError), 0);
    assert_eq!(caller.ends(Outcome::Answered), 0);
    assert_eq!(caller.ends(Outcome::ServerError), 0, "not in a row");
    assert_eq!(caller.ends(Outcome::Timeout), 0);
    assert_eq!(caller.target(), 1, "two in a row");
    for ejected_for in [10, 20, 40, 60, 60] {
        advance(SECOND / 10 * (ejected_for * 10 - 1)).await;
        assert_eq!(caller.target(), 1, "{ejected_for} s have not passed");
        advance(SECOND / 10).await;
        assert_eq!(caller.ends(Outcome::ConnectFailure), 0);
    }
    advance(SECOND * 60).await;
    assert_eq!(caller.ends(Outcome::Answered), 0);
    assert_eq!(caller.ends(Outcome::ServerError), 0, "forgiven");
    assert_eq!(caller.target(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_an_ejection_one_call_finds_out_for_all() {
    let mut caller = Caller::new(targets(&[(1, 0), (1, 1)]));
    caller.ends(Outcome::ServerError);
    caller.ends(Outcome::ServerError);
    advance(SECOND * 10).await;
    let probe = caller.call().expect("a target");
    assert_eq!(probe.target, 0);
    assert_eq!(caller.target(), 1, "while the probe is under way");
    probe.record(Outcome::Answered, Instant::now());
    assert_eq!(caller.target(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_never_answered_does_not_lock_the_target_out() {
    let mut caller = Caller::new(targets(&[(1, 0), (1, 1)]));
    caller.ends(Outcome::ServerError);
    caller.ends(Outcome::ServerError);
    advance(SECOND * 10).await;
    assert_eq!(caller.ends(Outcome::Unknown), 0);
    advance(SECOND * 10).await;
    assert_eq!(caller.target(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_failures_counts_as_one_ejection() {
    let mut caller = Caller::new(targets(&[(1, 0), (1, 1)]));
    let burst: Vec<_> = (0..50).map(|_| caller.call().expect("a target")).collect();
    advance(SECOND).await;
    for pick in burst {
        pick.record(Outcome::ServerError, Instant::now());
    }
    advance(SECOND * 10).await;
    assert_eq!(caller.target(), 0);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_up_to_the_longest_ejection() {
    let mut caller = Caller::new(targets(&[(1, 0), (1, 1)]));
    caller.ends(Outcome::RateLimited(Some(SECOND * 7)));
    assert_eq!(caller.target(), 1, "one 429 with a time is enough");
    advance(SECOND * 7).await;
    assert_eq!(caller.target(), 0);
    caller.ends(Outcome::Answered);
    caller.ends(Outcome::Overloaded(Some(SECOND * 86_400)));
    advance(SECOND * 60).await;
    assert_eq!(caller.target(), 0);
    caller.ends(Outcome::Answered);
    caller.ends(Outcome::RateLimited(Some(Duration::ZERO)));
    assert_eq!(caller.target(), 0, "at once");
}

#[tokio::test(start_paused = true)]
async fn the_last_one_is_never_ejected() {
    let mut alone = Caller::new(targets(&[(1, 0)]));
    for _ in 0..9 {
        assert_eq!(alone.ends(Outcome::ConnectFailure), 0);
    }
    assert_eq!(alone.ends(Outcome::RateLimited(Some(SECOND * 30))), 0);
    assert_eq!(alone.target(), 0);

    let mut two = Caller::new(targets(&[(1, 0), (1, 1)]));
    two.ends(Outcome::RateLimited(Some(SECOND * 30)));
    two.ends(Outcome::RateLimited(Some(SECOND * 5)));
    assert_eq!(two.target(), 1, "the one that is back first");
}

#[tokio::test(start_paused = true)]
async fn a_4xx_of_the_callers_making_is_a_sign_of_health() {
    let mut caller = Caller::new(targets(&[(1, 0), (1, 1)]));
    for _ in 0..5 {
        caller.ends(Outcome::ServerError);
        caller.ends(Outcome::Answered);
    }
    assert_eq!(caller.target(), 0);
}

#[tokio::test(start_paused = true)]
async fn health_is_kept_by_model() {
    let config = targets(&[(1, 0), (1, 1)]);
    let rule = rule_for(&config, "gpt");
    let mut rng = Rng::with_seed(1);
    let mut choose = |model: &str| {
        let tried = &mut Tried::default();
        pick(&rule, model, tried, Instant::now(), &mut rng).expect("a target")
    };
    for _ in 0..2 {
        choose("gpt").record(Outcome::ServerError, Instant::now());
    }
    assert_eq!(choose("gpt").target, 1);
    assert_eq!(choose("other").target, 0);
}

/// `a` with a key before the open provider `b`.
fn with_key(value: &str) -> Config {
    let mut second = target("b");
    second.priority = 1;
    let config = config();
    config.apply(snapshot([
        of_route(route("chat", [rule("any", [], [target("a"), second])])),
        of_provider(provider("a")),
        of_provider(open_provider("b")),
        credential("a", value),
    ]));
    config
}

fn key_of(pick: &Pick) -> &[u8] {
    let key = pick.credential.as_ref().expect("a key");
    key.header().as_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_target_without_its_key_is_skipped() {
    let config = with_key("");
    let mut caller = Caller::new(config.clone());
    assert_eq!(caller.target(), 1);
    config.apply(delta([credential("a", "sk-1")]));
    assert_eq!(caller.target(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_key_is_skipped_until_another_comes() {
    let config = with_key("sk-1");
    let mut caller = Caller::new(config.clone());
    let rejected = caller.call().expect("a target");
    assert!(rejected.renewed(Instant::now()).is_none());
    rejected.record(Outcome::Unauthorized, Instant::now());
    for _ in 0..3 {
        advance(SECOND * 100).await;
        assert_eq!(caller.target(), 1);
    }
    config.apply(delta([credential("a", "sk-2")]));
    let renewed = rejected.renewed(Instant::now()).expect("a newer key");
    assert_eq!(key_of(&renewed), b"Bearer sk-2");
    assert_eq!(caller.target(), 0);
}

#[tokio::test(start_paused = true)]
async fn where_every_key_is_rejected_a_call_tries_again_now_and_then() {
    let config = config();
    config.apply(snapshot([
        of_route(route("chat", [rule("any", [], [target("a")])])),
        of_provider(provider("a")),
        credential("a", "sk-1"),
    ]));
    let mut caller = Caller::new(config);
    assert_eq!(caller.ends(Outcome::Unauthorized), 0);
    let refused = |caller: &mut Caller| caller.call().map(|p| p.target);
    assert_eq!(refused(&mut caller), Err(NoTarget::CredentialRejected));
    advance(SECOND * 60).await;
    let probe = caller.call().expect("one call finds out");
    assert_eq!(refused(&mut caller), Err(NoTarget::CredentialRejected));
    probe.record(Outcome::Answered, Instant::now());
    assert_eq!(caller.target(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_key_begins_with_good_health() {
    let config = with_key("sk-1");
    let mut caller = Caller::new(config.clone());
    let old = caller.call().expect("a target");
    caller.ends(Outcome::RateLimited(Some(SECOND * 50)));
    assert_eq!(caller.target(), 1);
    config.apply(delta([credential("a", "sk-2")]));
    assert_eq!(caller.target(), 0);
    old.record(Outcome::RateLimited(Some(SECOND * 50)), Instant::now());
    assert_eq!(caller.target(), 0, "that was the old key's");
}

#[tokio::test(start_paused = true)]
async fn without_any_target_the_reason_is_told() {
    let judge = |resources: Vec<Resource>| {
        let config = config();
        config.apply(snapshot(resources));
        Caller::new(config).call().map(|p| p.target)
    };
    let chat = || of_route(route("chat", [rule("any", [], [target("a")])]));
    assert_eq!(judge(vec![chat()]), Err(NoTarget::Unavailable));
    let keyless = vec![chat(), of_provider(provider("a"))];
    assert_eq!(judge(keyless), Err(NoTarget::Unavailable));
    let mut other = provider("a");
    other.models[0].name = "other".into();
    let other = vec![chat(), of_provider(other), credential("a", "sk-1")];
    assert_eq!(judge(other), Err(NoTarget::ModelUnknown));
    let mut told = target("a");
    told.unavailable = "NotAllowed".into();
    let told = of_route(route("chat", [rule("any", [], [told])]));
    let told = vec![told, of_provider(open_provider("a"))];
    assert_eq!(judge(told), Err(NoTarget::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn weight_0_is_used_only_where_nothing_else_can_be() {
    let mut caller = Caller::new(targets(&[(0, 0), (1, 1)]));
    caller.ends(Outcome::ServerError);
    caller.ends(Outcome::ServerError);
    assert_eq!(
        caller.target(),
        1,
        "ejected, but the last one with a weight"
    );
    assert_eq!(caller.again().expect("a target").target, 1, "tried, too");

    let mut drained = Caller::new(targets(&[(0, 0)]));
    assert_eq!(drained.target(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 48,
        ..ProptestConfig::default()
    })]

    #[test]
    fn shares_follow_the_weights_of_the_lowest_priority(
        shares in prop::collection::vec((0_u32..5, 0_u32..2), 1..6),
        seed in any::<u64>(),
    ) {
        const CALLS: u32 = 2000;
        let mut caller = Caller { rng: Rng::with_seed(seed), ..Caller::new(targets(&shares)) };
        let mut hits = vec![0_u32; shares.len()];
        for _ in 0..CALLS {
            hits[caller.target()] += 1;
        }
        let drained = shares.iter().all(|(weight, _)| *weight == 0);
        let weight = |share: &(u32, u32)| if drained { 1 } else { share.0 };
        let candidates = shares.iter().filter(|s| weight(s) > 0);
        let lowest = candidates.clone().map(|(_, priority)| *priority).min();
        let counted = |s: &(u32, u32)| if Some(s.1) == lowest { weight(s) } else { 0 };
        let total: u32 = shares.iter().map(counted).sum();
        for (share, hits) in shares.iter().zip(hits) {
            let expected = f64::from(CALLS) * f64::from(counted(share)) / f64::from(total);
            // Six standard deviations: by chance not once in 10^8 cases.
            let slack = 6.0 * expected.sqrt().max(0.0) * f64::from(u8::from(counted(share) < total));
            prop_assert!(
                (f64::from(hits) - expected).abs() <= slack,
                "{shares:?}: {hits} hits, {expected} expected"
            );
        }
    }

    #[test]
    fn a_call_visits_every_target_before_it_comes_back(
        shares in prop::collection::vec((1_u32..5, 0_u32..4), 1..8),
        seed in any::<u64>(),
    ) {
        let mut caller = Caller { rng: Rng::with_seed(seed), ..Caller::new(targets(&shares)) };
        let order: Vec<_> = shares.iter().map(|_| caller.again().expect("a target").target).collect();
        let priorities: Vec<_> = order.iter().map(|i| shares[*i].1).collect();
        prop_assert!(priorities.is_sorted(), "{shares:?}: {order:?}");
        let mut visited = order.clone();
        visited.sort_unstable();
        prop_assert_eq!(visited, (0..shares.len()).collect::<Vec<_>>());
    }
}
