//! Prices are integers from the first byte on: what a manifest or the catalog
//! writes is what is charged, to the pico-USD a token.

use llmroute_crds::Money;
use llmroute_operator::catalog::Catalog;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_price_is_the_number_that_its_digits_say(micros in 0_u64..10_000_000_000_000) {
        let (whole, decimals) = (micros / 1_000_000, micros % 1_000_000);
        let text = format!("{whole}.{decimals:06}");
        let money: Money = text.parse().expect("a price");
        prop_assert_eq!(money.pico_usd_per_token(), micros);
    }

    #[test]
    fn trailing_zeros_change_nothing(whole in 0_u64..10_000_000, tenths in 0_u64..10, zeros in 0_usize..6) {
        let short: Money = format!("{whole}.{tenths}").parse().expect("a price");
        let long: Money = format!("{whole}.{tenths}{}", "0".repeat(zeros)).parse().expect("a price");
        prop_assert_eq!(short, long);
    }

    #[test]
    fn a_written_price_reads_back_as_itself(micros in 0_u64..10_000_000_000_000) {
        let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let money: Money = text.parse().expect("a price");
        let again: Money = money.to_string().parse().expect("what was written");
        prop_assert_eq!(money, again);
    }

    #[test]
    fn no_text_makes_the_parser_panic_or_round(text in "\\PC{0,24}") {
        let plain = |part: &str, most: usize| {
            !part.is_empty() && part.len() <= most && part.bytes().all(|b| b.is_ascii_digit())
        };
        let fits = match text.split_once('.') {
            Some((whole, decimals)) => plain(whole, 7) && plain(decimals, 6),
            None => plain(&text, 7),
        };
        prop_assert_eq!(text.parse::<Money>().is_ok(), fits, "{}", text);
    }

    #[test]
    fn the_order_of_prices_is_that_of_their_numbers(a in 0_u64..10_000_000_000_000, b in 0_u64..10_000_000_000_000) {
        let money = |n: u64| -> Money {
            format!("{}.{:06}", n / 1_000_000, n % 1_000_000).parse().expect("a price")
        };
        prop_assert_eq!(money(a).cmp(&money(b)), a.cmp(&b));
    }
}

#[test]
fn a_cached_token_never_costs_more_than_a_fresh_one() {
    let catalog = Catalog::built_in();
    for row in catalog.types().filter_map(|name| catalog.get(name)) {
        for model in row.models.values() {
            let price = model.price.as_ref().expect("a listed model has a price");
            let tiers = price.tiers.iter().filter_map(|tier| tier.rates.as_ref());
            for rates in price.rates.iter().chain(tiers) {
                let cached = rates.cached_input.unwrap_or(rates.input);
                assert!(cached <= rates.input, "{} {}", row.name, model.name);
            }
        }
    }
}

#[test]
fn a_tier_costs_at_least_what_is_below_it() {
    let catalog = Catalog::built_in();
    for row in catalog.types().filter_map(|name| catalog.get(name)) {
        for model in row.models.values() {
            let price = model.price.as_ref().expect("a listed model has a price");
            let tiers = price.tiers.iter().filter_map(|tier| tier.rates);
            let rates: Vec<_> = price.rates.into_iter().chain(tiers).collect();
            let mut pairs = rates.windows(2);
            let ascends = pairs.all(|p| p[0].input <= p[1].input && p[0].output <= p[1].output);
            assert!(ascends, "{} {}", row.name, model.name);
        }
    }
}
