//! The same as JSON, every number as it is.

use super::{CostReport, meets};
use crate::cost::{ApiCost, BreakEven, Hosted, Per, Served};
use crate::date;
use nomoat_core::cost::pool::{self, Band};
use serde_json::{Value, json};

fn per_json(per: &Per) -> Value {
    json!({
        "usd_per_mtok_out": per.output, "usd_per_mtok_good_out": per.good_output, "usd_per_mtok_total": per.total,
        "usd_per_request": per.request, "usd_per_mchar_out": per.chars,
    })
}

fn band_json(band: &Band) -> Value {
    json!({"low": band.low, "median": band.median, "high": band.high})
}

pub(super) fn as_json(report: &CostReport) -> Value {
    let hosted = |hosted: &Hosted, served: &Served| {
        let pools: Vec<Value> = hosted
            .pools
            .iter()
            .map(|pool| json!({"role": pool.role, "devices": pool.devices, "usd_per_device_hour": band_json(&pool.usd_per_device_hour)}))
            .collect();
        let at: Vec<Value> = report
            .utilisations
            .iter()
            .map(|u| json!({"utilisation": u, "cost": per_json(&Hosted::per(pool::at_utilisation(hosted.usd.median, *u), served))}))
            .collect();
        let attributed = hosted.attributed(served);
        json!({
            "name": hosted.name, "pools": pools, "prices": hosted.prices, "usd": band_json(&hosted.usd), "at_utilisation": at,
            "low": per_json(&Hosted::per(hosted.usd.low, served)), "high": per_json(&Hosted::per(hosted.usd.high, served)),
            "full_bill_usd_per_mtok_in": hosted.full_bill_per_input(served),
            "attributed": attributed.as_ref().ok().map(|(input, output)| json!({"usd_per_mtok_in": input, "usd_per_mtok_out": output})),
            "not_attributed": attributed.err(),
            "cold_start_usd_per_mtok": report.cold_start.map(|(s, tokens)| pool::cold_start(s, pool::usd_per_hour(&hosted.pools).median, tokens) * 1e6),
        })
    };
    let api = |api: &ApiCost, served: &Served| {
        let tokens = &api.bill.tokens;
        let rates: Vec<Value> =
            api.rates.iter().map(|(when, requests, prices)| json!({"when": when, "requests": requests, "usd_per_mtok": prices})).collect();
        json!({
            "api": api.id, "usd": api.usd.as_ref().ok(), "reason": api.usd.as_ref().err(),
            "cost": api.usd.as_ref().ok().map(|usd| per_json(&api.per(*usd, served))),
            "usd_nothing_cached": api.usd_uncached.as_ref().ok(), "cached_share": api.cached_share(),
            "usd_per_mtok_in_effective": api.effective_input(), "requests": api.bill.requests,
            "tokens": {"uncached": tokens.uncached, "cache_read": tokens.cache_read, "cache_write": tokens.cache_write,
                       "visible": tokens.visible, "reasoning": tokens.reasoning},
            "failed_unknown": api.bill.failed_unknown, "rates": rates, "prices": api.prices,
        })
    };
    let even = |even: Result<BreakEven, String>| match even {
        Ok(even) => json!({
            "hosted": even.hosted, "api": even.api, "measured_tokens_per_s_device": even.measured,
            "at": even.at.iter().map(|(u, rate)| json!({"utilisation": u, "tokens_per_s_device": rate})).collect::<Vec<_>>(),
            "cheaper_from_utilisation": even.utilisation,
            "cheaper_from_utilisation_band": even.utilisation_band.map(|(low, high)| json!([low, high])),
        }),
        Err(why) => json!({"reason": why}),
    };
    let runs: Vec<Value> = report
        .runs
        .iter()
        .map(|run| {
            let served = &run.served;
            json!({
                "run": run.run_id, "arm": run.arm, "load": run.load, "state": run.state,
                "first_due": date::moment(run.span.0), "last_due": date::moment(run.span.1),
                "window_s": served.seconds, "output_tokens": served.output, "input_tokens": served.input,
                "good_output_tokens": served.good_output, "attained": served.attained, "answered": served.answered, "answers_in_window": served.ended,
                "measured": served.measured, "chars_per_token": served.chars_per_token,
                "hosted": run.hosted.iter().map(|h| hosted(h, served)).collect::<Vec<_>>(),
                "apis": run.apis.iter().map(|a| api(a, served)).collect::<Vec<_>>(),
                "break_even": meets(run, &report.utilisations).into_iter().map(even).collect::<Vec<_>>(),
            })
        })
        .collect();
    let at_slo: Vec<Value> = report
        .at_slo
        .iter()
        .map(|at| {
            json!({
                "arm": at.arm, "price": at.price,
                "best": at.best.as_ref().map(|point| json!({
                    "load": point.load, "usd_per_mtok_good_out": band_json(&point.usd), "runs": point.runs,
                    "interval_95": point.interval.map(|(low, high)| json!([low, high])),
                })),
                "others": at.others,
            })
        })
        .collect();
    json!({
        "schema": "nomoat.cost/1", "runs": runs, "slo": report.slo, "attainment": report.attainment, "at_slo": at_slo, "notes": report.notes,
    })
}
