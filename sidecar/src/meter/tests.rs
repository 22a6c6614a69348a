//! The rules of money, one test each.

use bytes::Bytes;
use llmroute_protocol::{self as wire, Quirk};
use proptest::prelude::*;

use super::*;
use crate::dialect::openai::{Answer, Operation, Shape};

fn price(input: u64, cached: Option<u64>, output: u64) -> Price {
    compile(wire::Rates {
        input,
        output,
        cached_input: cached,
        ..wire::Rates::default()
    })
}

fn compile(rates: wire::Rates) -> Price {
    Price::compile(&wire::Price {
        rates: Some(rates),
        ..wire::Price::default()
    })
    .expect("a valid price")
}

/// The usage of a JSON answer whose usage object is `usage`.
fn normal(operation: Operation, usage: &str, quirks: &[Quirk]) -> Usage {
    let body = Bytes::from(format!(r#"{{"object":"x","usage":{usage}}}"#));
    let mut answer = Answer::new(operation, Shape::Json, quirks, false);
    answer.push(body);
    answer
        .reading()
        .usage
        .unwrap_or_else(|| panic!("no usage: {usage}"))
}

/// The same, as the last chunk of a stream.
fn streamed(operation: Operation, usage: &str, quirks: &[Quirk]) -> Option<Usage> {
    let event = match operation {
        Operation::Responses => {
            format!(r#"{{"type":"response.completed","response":{{"usage":{usage}}}}}"#)
        }
        _ => format!(r#"{{"choices":[],"usage":{usage}}}"#),
    };
    let mut answer = Answer::new(operation, Shape::Stream, quirks, true);
    answer.push(Bytes::from(format!("data: {event}\n\n")));
    answer.reading().usage
}

struct Example {
    name: &'static str,
    operation: Operation,
    usage: &'static str,
    /// input, cached, written short, written long, output.
    units: [u64; 5],
    price: Price,
    pico: u128,
    micro: u128,
}

const CHAT: Operation = Operation::ChatCompletions;

/// The worked examples of the wire's own numbers: recorded calls (E) and cases
/// of the vendors' documents (X), at prices made for the test.
#[rustfmt::skip]
fn examples() -> Vec<Example> {
    let e = |name, operation, usage, units, price, pico, micro| Example { name, operation, usage, units, price, pico, micro };
    vec![
        e("E1", CHAT, r#"{"prompt_tokens":1497,"completion_tokens":1037,"total_tokens":2534,"prompt_tokens_details":{"cached_tokens":1408}}"#, [89, 1408, 0, 0, 1037], price(150_000, Some(75_000), 600_000), 741_150_000, 741),
        e("E2", CHAT, r#"{"prompt_tokens":15,"completion_tokens":993,"total_tokens":1008,"completion_tokens_details":{"reasoning_tokens":960}}"#, [15, 0, 0, 0, 993], price(50_000, None, 400_000), 397_950_000, 398),
        e("E3", CHAT, r#"{"prompt_tokens":24,"completion_tokens":8,"total_tokens":32}"#, [24, 0, 0, 0, 8], price(150_000, None, 600_000), 8_400_000, 8),
        e("E4", CHAT, r#"{"prompt_tokens":8,"completion_tokens":82,"total_tokens":90}"#, [8, 0, 0, 0, 82], price(2_500_000, None, 20_000_000), 1_660_000_000, 1660),
        e("E5", Operation::Responses, r#"{"input_tokens":12,"output_tokens":1014,"total_tokens":1026,"output_tokens_details":{"reasoning_tokens":832}}"#, [12, 0, 0, 0, 1014], price(50_000, None, 400_000), 406_200_000, 406),
        e("E6", Operation::Responses, r#"{"input_tokens":325,"output_tokens":190,"total_tokens":515}"#, [325, 0, 0, 0, 190], price(150_000, None, 600_000), 162_750_000, 163),
        e("E7", Operation::Completions, r#"{"prompt_tokens":192,"completion_tokens":256,"total_tokens":448}"#, [192, 0, 0, 0, 256], price(1_500_000, None, 2_000_000), 800_000_000, 800),
        e("E8", Operation::Embeddings, r#"{"prompt_tokens":29,"total_tokens":29}"#, [29, 0, 0, 0, 0], price(100_000, None, 0), 2_900_000, 3),
        e("E9", CHAT, r#"{"prompt_tokens":11,"completion_tokens":203,"total_tokens":214,"completion_tokens_details":{"reasoning_tokens":192}}"#, [11, 0, 0, 0, 203], price(50_000, None, 400_000), 81_750_000, 82),
        e("E26", CHAT, r#"{"prompt_tokens":20,"completion_tokens":18,"total_tokens":38,"prompt_tokens_details":{"cached_tokens":10},"num_cached_tokens":10}"#, [10, 10, 0, 0, 18], price(100_000, Some(10_000), 300_000), 6_500_000, 7),
        e("E27", CHAT, r#"{"prompt_tokens":11,"completion_tokens":76,"total_tokens":87}"#, [11, 0, 0, 0, 76], price(100_000, None, 300_000), 23_900_000, 24),
        e("E29", CHAT, r#"{"prompt_tokens":32,"completion_tokens":324,"total_tokens":356,"prompt_tokens_details":{"cached_tokens":0},"prompt_cache_hit_tokens":0,"prompt_cache_miss_tokens":32}"#, [32, 0, 0, 0, 324], price(270_000, Some(70_000), 1_100_000), 365_040_000, 365),
        e("E30", CHAT, r#"{"prompt_tokens":18,"completion_tokens":35,"total_tokens":53}"#, [18, 0, 0, 0, 35], price(200_000, None, 200_000), 10_600_000, 11),
        e("E31", CHAT, r#"{"prompt_tokens":39,"completion_tokens":95,"total_tokens":134,"prompt_token_details":{"cached_tokens":0}}"#, [39, 0, 0, 0, 95], price(600_000, None, 6_000_000), 593_400_000, 593),
        e("E32", Operation::Embeddings, r#"{"prompt_tokens":21,"completion_tokens":0,"total_tokens":21,"request_count":null}"#, [21, 0, 0, 0, 0], price(100_000, None, 0), 2_100_000, 2),
        e("X2", CHAT, r#"{"prompt_tokens":10120,"completion_tokens":1499,"total_tokens":14428,"prompt_tokens_details":{"cached_tokens":128},"completion_tokens_details":{"reasoning_tokens":2809}}"#, [9992, 128, 0, 0, 4308], price(1_250_000, Some(200_000), 2_500_000), 23_285_600_000, 23286),
        e("X3", Operation::Responses, r#"{"input_tokens":5000,"output_tokens":10,"total_tokens":5010,"input_tokens_details":{"cached_tokens":1000,"cache_write_tokens":3000,"cache_write_tokens_details":{"ttl_30m_tokens":2000,"ttl_12h_tokens":1000}}}"#, [1000, 1000, 2000, 1000, 10],
            compile(wire::Rates { input: 5_000_000, output: 30_000_000, cached_input: Some(500_000), cache_write: Some(6_250_000), cache_write_1h: Some(10_000_000) }), 28_300_000_000, 28300),
        e("X6", CHAT, r#"{"prompt_tokens":40,"completion_tokens":15,"total_tokens":120}"#, [40, 0, 0, 0, 80], price(300_000, None, 2_500_000), 212_000_000, 212),
    ]
}

#[test]
fn every_worked_example_comes_out_to_the_unit_streamed_and_not() {
    for example in examples() {
        let Example {
            name,
            operation,
            usage,
            units,
            price,
            pico,
            micro,
        } = example;
        let found = normal(operation, usage, &[]);
        let Usage {
            input,
            cached,
            cache_write,
            cache_write_long,
            output,
            ..
        } = found;
        assert_eq!(
            [input, cached, cache_write, cache_write_long, output],
            units,
            "{name}"
        );
        assert_eq!(found.quality, Quality::Exact, "{name}");
        let cost = price.cost(&found, None);
        assert_eq!(
            cost,
            Cost {
                amount: PicoUsd(pico),
                saturated: false
            },
            "{name}"
        );
        assert_eq!(cost.amount.micro(), micro, "{name}");
        assert_eq!(
            streamed(operation, usage, &[]),
            Some(found),
            "{name} streamed"
        );
    }
}

#[test]
fn groqs_copy_of_the_usage_is_read_where_there_is_no_other() {
    let mut answer = Answer::new(CHAT, Shape::Stream, &[], true);
    answer.push(Bytes::from_static(
        b"data: {\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"r\",\"usage\":{\"prompt_tokens\":18,\"completion_tokens\":73,\"total_tokens\":91}}}\n\n",
    ));
    let usage = answer.reading().usage.expect("reported");
    let cost = price(50_000, None, 80_000).cost(&usage, None);
    assert_eq!((cost.amount, cost.amount.micro()), (PicoUsd(6_740_000), 7));
}

#[test]
fn reasoning_beyond_the_output_is_clamped() {
    let usage = normal(
        CHAT,
        r#"{"prompt_tokens":1,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":9}}"#,
        &[],
    );
    assert_eq!((usage.output, usage.reasoning), (5, 5));
}

#[test]
fn reasoning_inside_the_output_is_not_charged_twice_even_where_it_may_be_outside() {
    let inside = r#"{"prompt_tokens":500,"completion_tokens":500,"total_tokens":1000,"completion_tokens_details":{"reasoning_tokens":200}}"#;
    let usage = normal(CHAT, inside, &[Quirk::ReasoningOutsideCompletion]);
    assert_eq!((usage.output, usage.reasoning), (500, 200));
}

#[test]
fn numbers_that_contradict_each_other_are_marked_and_never_negative() {
    for usage in [
        r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9}}"#,
        r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cache_write_tokens":9}}"#,
        r#"{"prompt_tokens":5,"completion_tokens":1,"total_tokens":4}"#,
    ] {
        let found = normal(CHAT, usage, &[]);
        assert_eq!(found.quality, Quality::Estimated, "{usage}");
        assert!(found.input <= 5);
    }
}

#[test]
fn what_the_vendor_charges_comes_before_any_price() {
    let usage = normal(
        CHAT,
        r#"{"prompt_tokens":1,"completion_tokens":1,"cost":0.0123455}"#,
        &[Quirk::CostUsd],
    );
    let cost = charge(&usage, Some(&price(1, None, 1)), None).expect("known");
    assert_eq!(
        (cost.amount, cost.amount.micro()),
        (PicoUsd(12_345_500_000), 12346)
    );
    assert!(
        charge(&usage, None, None).is_some(),
        "known without a price too"
    );
}

#[test]
fn an_unknown_price_is_no_price_of_zero() {
    assert_eq!(charge(&Usage::estimated(1, 1), None, None), None);
    let free = charge(&Usage::estimated(1, 1), Some(&price(0, None, 0)), None);
    assert_eq!(free.map(|cost| cost.amount), Some(PicoUsd::ZERO));
}

fn tiered() -> wire::Price {
    let rates = |input| {
        Some(wire::Rates {
            input,
            output: 0,
            ..wire::Rates::default()
        })
    };
    let tier = |above_input_tokens, input| wire::PriceTier {
        above_input_tokens,
        rates: rates(input),
    };
    wire::Price {
        rates: rates(1),
        tiers: vec![tier(100, 2), tier(1000, 3)],
        service_tiers: vec![wire::ServiceTierPrice {
            name: "priority".into(),
            rates: rates(10),
            tiers: vec![tier(100, 20)],
        }],
    }
}

#[test]
fn a_long_input_costs_its_tier_for_all_of_it() {
    let price = Price::compile(&tiered()).expect("valid");
    let cost = |input, cached, tier| {
        let usage = Usage {
            input,
            cached,
            ..Usage::default()
        };
        price.cost(&usage, tier).amount.0
    };
    assert_eq!(cost(100, 0, None), 100);
    assert_eq!(cost(101, 0, None), 202);
    assert_eq!(cost(50, 51, None), 202, "cached input counts for the tier");
    assert_eq!(cost(1001, 0, None), 3003);
    assert_eq!(cost(100, 0, Some("priority")), 1000);
    assert_eq!(cost(101, 0, Some("priority")), 2020);
    assert_eq!(
        cost(100, 0, Some("default")),
        100,
        "a tier without a price of its own"
    );
}

#[test]
fn a_price_that_is_not_one_price_is_refused() {
    let mut twice = tiered();
    twice.service_tiers.push(twice.service_tiers[0].clone());
    assert_eq!(
        Price::compile(&twice),
        Err(PriceError::DuplicateServiceTier("priority".into()))
    );
    let mut descending = tiered();
    descending.tiers.reverse();
    assert_eq!(
        Price::compile(&descending),
        Err(PriceError::TiersNotAscending)
    );
    assert_eq!(
        Price::compile(&wire::Price::default()),
        Err(PriceError::NoRates)
    );
}

#[test]
fn arithmetic_that_runs_out_saturates_with_a_mark() {
    let most = compile(wire::Rates {
        input: u64::MAX,
        output: u64::MAX,
        ..wire::Rates::default()
    });
    let usage = Usage {
        input: u64::MAX,
        cached: u64::MAX,
        output: u64::MAX,
        ..Usage::default()
    };
    let cost = most.cost(&usage, None);
    assert_eq!(
        cost,
        Cost {
            amount: PicoUsd(u128::MAX),
            saturated: true
        }
    );
    assert!(!cost.amount.to_string().is_empty());
}

#[test]
fn usd_is_written_with_six_decimals_rounded_half_up() {
    for (pico, text) in [
        (0, "0.000000"),
        (499_999, "0.000000"),
        (500_000, "0.000001"),
        (741_150_000, "0.000741"),
        (6_500_000, "0.000007"),
        (999_999_500_000, "1.000000"),
        (1_234_567_890_123_456, "1234.567890"),
    ] {
        assert_eq!(PicoUsd(pico).to_string(), text);
        assert_eq!(PicoUsd(pico).header(), text);
    }
}

#[test]
fn usd_is_read_from_the_lexeme_exactly() {
    let read = |text: &str| PicoUsd::from_usd_lexeme(text.as_bytes()).map(|amount| amount.0);
    for text in ["0.0123455", "1.23455e-2", "123455E-7", "0.01234550000"] {
        assert_eq!(read(text), Some(12_345_500_000), "{text}");
    }
    assert_eq!(read("1"), Some(1_000_000_000_000));
    assert_eq!(read("5e-13"), Some(1), "half a unit rounds up");
    assert_eq!(read("4e-13"), Some(0));
    assert_eq!(read("1e-400"), Some(0));
    assert_eq!(read("0"), Some(0));
    for nonsense in [
        "-1",
        "1e400",
        "1e99999999999",
        "",
        ".",
        "x",
        "1.2.3",
        &"9".repeat(65),
    ] {
        assert_eq!(read(nonsense), None, "{nonsense}");
    }
}

#[test]
fn tokens_are_estimated_at_the_cold_ratio_until_a_model_is_known() {
    let estimator = Estimator::default();
    assert_eq!(estimator.estimate("m", 1000, 10), (300, 3));
    assert_eq!(
        estimator.estimate("m", 1, 0),
        (1, 0),
        "never nothing for something"
    );
    for _ in 0..100 {
        estimator.learn("m", (1000, 500), (1000, 200));
    }
    let (input, output) = estimator.estimate("m", 1000, 1000);
    assert!(
        (495..=501).contains(&input) && (199..=206).contains(&output),
        "{input} {output}"
    );
    assert_eq!(estimator.estimate("other", 1000, 1000), (300, 300));
}

#[test]
fn nonsense_teaches_the_estimator_little_and_its_memory_is_bounded() {
    let estimator = Estimator::default();
    estimator.learn("m", (64, u64::MAX), (u64::MAX, 1));
    estimator.learn("m", (10, 100), (0, 100));
    let (input, output) = estimator.estimate("m", 1000, 1000);
    assert!(
        input <= 1000 && (200..=300).contains(&output),
        "{input} {output}"
    );
    for n in 0..10_000 {
        estimator.learn(&format!("model-{n}"), (1000, 500), (1000, 500));
    }
    assert!(estimator.models() <= 512);
    estimator.estimate("m", u64::MAX, u64::MAX);
}

proptest! {
    /// One rounding: the micro-USD of a sum is never a unit off the exact amount.
    #[test]
    fn streamed_and_unstreamed_cost_the_same_to_the_unit(
        prompt in 1_u64..10_000_000, cached in 0_u64..10_000_000, completion in 0_u64..1_000_000,
        reasoning in 0_u64..1_000_000, rates in prop::array::uniform3(0_u64..1_000_000_000),
    ) {
        let cached = cached.min(prompt);
        let total = prompt + completion;
        let chat = format!(r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached}}},"completion_tokens_details":{{"reasoning_tokens":{reasoning}}}}}"#);
        let responses = chat.replace("prompt_tokens", "input_tokens").replace("completion_tokens", "output_tokens");
        let [input, output, cached_rate] = rates;
        let price = price(input, Some(cached_rate), output);
        let exact = u128::from(prompt - cached) * u128::from(input)
            + u128::from(cached) * u128::from(cached_rate)
            + u128::from(completion) * u128::from(output);
        for (operation, usage) in [(CHAT, &chat), (Operation::Responses, &responses)] {
            let whole = price.cost(&normal(operation, usage, &[]), None);
            let parts = streamed(operation, usage, &[]).map(|usage| price.cost(&usage, None));
            prop_assert_eq!(Some(whole), parts);
            prop_assert_eq!(whole.amount.0, exact);
            prop_assert!((whole.amount.micro() * 1_000_000).abs_diff(exact) <= 500_000);
        }
    }

    #[test]
    fn a_decimal_is_what_it_says(whole in 0_u64..1_000_000, fraction in 0_u64..1_000_000) {
        let text = format!("{whole}.{fraction:06}");
        let amount = PicoUsd::from_usd_lexeme(text.as_bytes()).expect("an amount");
        prop_assert_eq!(amount.to_string(), text);
    }
}
