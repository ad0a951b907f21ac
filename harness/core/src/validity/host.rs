//! V14: whether the load host was quiet, as far as it tells. These rules flag: what a noisy host does to a run is judged by its dispatch
//! lag (V05) and its pace (V06).

use super::{Evidence, Rule, RuleResult, percent};

/// V14: largest share of the cores' time that a hypervisor may give to others.
pub const MAX_STEAL: f64 = 0.01;

const STEAL: Rule = Rule::flag("V14", "this host had its cores for itself");
const THROTTLED: Rule = Rule::flag("V14", "no CPU quota held the harness back");
const HEATED: Rule = Rule::flag("V14", "no core was slowed down by heat");

/// The rules of whose evidence there are readings.
pub(super) fn rules(e: &Evidence<'_>) -> impl Iterator<Item = RuleResult> {
    [steal(e), throttled(e), heated(e)].into_iter().flatten()
}

fn steal(e: &Evidence<'_>) -> Option<RuleResult> {
    let share = e.steal?;
    let value = format!("the hypervisor gave {} of the cores' time to others", percent(share));
    let remedy = "use a machine with cores of its own, or one that is not shared while a run is on";
    Some(STEAL.check(share <= MAX_STEAL, value, format!("at most {}", percent(MAX_STEAL)), remedy))
}

fn throttled(e: &Evidence<'_>) -> Option<RuleResult> {
    let periods = e.throttled?;
    let value = format!("the quota was used up in {periods:.0} periods, and every thread here stood still until the next");
    let remedy = "give the container or the service a larger CPU quota or none, or lower the load";
    Some(THROTTLED.check(periods == 0.0, value, "never", remedy))
}

fn heated(e: &Evidence<'_>) -> Option<RuleResult> {
    let times = e.heated?;
    let value = format!("cores were slowed down {times:.0} times");
    Some(HEATED.check(times == 0.0, value, "never", "cool the host, or let fewer cores work; clock rates differed within the run"))
}
