//! Looking for meters: drivers are started and asked for the first time, each on a thread of its own, so that one that hangs holds up
//! neither the start nor the others.

use super::{NoMeter, PowerMeter, PowerPlaces, look};
use nomoat_core::energy::Meter;
use nomoat_core::units::Nanos;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// A driver that takes longer to start is given up. One that nobody keeps loaded starts its boards first, seconds for each.
const PATIENCE: Nanos = Nanos::from_secs(30);

type Found = Result<PowerMeter, NoMeter>;

/// Looks for meters of this host, all at the same time: several that hang cost the patience for one. A library whose loading hangs holds
/// the loader of the process, so those that are loaded beside it are given up with it.
///
/// Each comes back with its meter, or with why it is not there, is there and cannot be read, or gave no answer. That a host has none is an
/// answer, not a failure.
pub fn find(meters: &[Meter], places: &PowerPlaces) -> Vec<(Meter, Result<PowerMeter, NoMeter>)> {
    let until = Instant::now() + PATIENCE.to_std();
    let started: Vec<Looked> = meters
        .iter()
        .map(|meter| {
            let (meter, places) = (*meter, places.clone());
            Looked::start(meter, move || look(meter, &places))
        })
        .collect();
    started.into_iter().map(|looked| (looked.meter, looked.answer(until.saturating_duration_since(Instant::now())))).collect()
}

/// A meter that is looked for. Nobody waits for its thread to end: a driver that hangs never comes back.
struct Looked {
    meter: Meter,
    answer: Result<Receiver<Found>, NoMeter>,
}

impl Looked {
    /// Starts a thread that looks.
    fn start(meter: Meter, look: impl FnOnce() -> Found + Send + 'static) -> Self {
        // One that comes after it was given up is dropped where it is: nothing is to be told of it any more.
        let (tell, answer) = sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("look-{}", meter.name())).spawn(move || {
            let _ = tell.send(look());
        });
        let failed = |error| NoMeter::new(format!("starting the thread that looks for {}: {error}", meter.words()), "");
        Self { meter, answer: thread.map(|_| answer).map_err(failed) }
    }

    /// What it found, or that it gave no answer in so long.
    fn answer(self, patience: Duration) -> Found {
        let words = self.meter.words();
        match self.answer?.recv_timeout(patience) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout) => {
                Err(NoMeter::new(format!("looking for {words}: the driver gave no answer in {PATIENCE}"), comes_back(self.meter)))
            }
            Err(RecvTimeoutError::Disconnected) => Err(NoMeter::new(format!("looking for {words}: its thread has ended"), "")),
        }
    }
}

/// What to try where a meter does not come back.
fn comes_back(meter: Meter) -> String {
    let see = match meter {
        Meter::Nvml => "see whether `nvidia-smi` comes back here",
        Meter::AmdSmi => "see whether `amd-smi list` comes back here",
        _ => "see what the kernel's log (`dmesg`) says of it",
    };
    format!("{see}; --energy off looks for none, --energy NAME for one")
}

#[cfg(test)]
mod tests {
    use super::super::{Device, Reading, thread};
    use super::*;
    use nomoat_core::energy::Scope;
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Barrier};

    /// Longer than any test; nothing waits for its end.
    const LONG: Duration = Duration::from_hours(1);

    struct Quiet;

    impl Device for Quiet {
        fn name(&self) -> String {
            "0".into()
        }

        fn read(&self) -> Result<Reading, String> {
            Ok(Reading { watts: Some(1.0), ..Reading::default() })
        }
    }

    fn meter(meter: Meter) -> Found {
        let telemetry = Box::new(thread::Devices::new(meter, Scope::Board, vec![Box::new(Quiet)])?);
        Ok(PowerMeter { meter, scope: Scope::Board, devices: vec!["0".into()], telemetry })
    }

    fn none(found: Found) -> NoMeter {
        found.err().unwrap_or_else(|| panic!("there is a meter"))
    }

    #[test]
    fn a_driver_that_hangs_is_given_up_and_the_others_are_found() {
        let (go, wait) = channel::<()>();
        let (dropped, gone) = channel::<()>();
        let hangs = Looked::start(Meter::Nvml, move || {
            // It comes back when it is let go, with a meter that nobody asks for any more.
            let _ = wait.recv();
            drop(dropped);
            meter(Meter::Nvml)
        });
        let answers = Looked::start(Meter::Rapl, || meter(Meter::Rapl));
        assert_eq!(answers.answer(LONG).map(|found| found.devices).unwrap_or_default(), ["0"]);
        let given_up = none(hangs.answer(Duration::ZERO));
        assert_eq!(given_up.why, "looking for NVML: the driver gave no answer in 30.0 s");
        assert!(given_up.remedy.contains("`nvidia-smi`") && given_up.remedy.contains("--energy off"), "{given_up:?}");
        drop(go);
        assert!(gone.recv().is_err(), "it ends on its own");
    }

    #[test]
    fn meters_are_looked_for_at_the_same_time() {
        // Each is there only when the other is looked for: one after the other neither would be.
        let both = Arc::new(Barrier::new(2));
        let started: Vec<Looked> = [Meter::Nvml, Meter::AmdSmi]
            .into_iter()
            .map(|which| {
                let both = both.clone();
                Looked::start(which, move || {
                    both.wait();
                    meter(which)
                })
            })
            .collect();
        assert!(started.into_iter().all(|looked| looked.answer(LONG).is_ok()));
    }

    #[test]
    fn a_thread_that_ends_without_an_answer_is_told_of() {
        let (tell, answer) = sync_channel::<Found>(1);
        drop(tell);
        let ended = none(Looked { meter: Meter::Hwmon, answer: Ok(answer) }.answer(LONG));
        assert_eq!(ended.why, "looking for hwmon: its thread has ended");
    }

    #[test]
    fn every_meter_that_is_asked_for_has_an_answer_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let found = find(&[Meter::Rapl, Meter::Csv, Meter::Hwmon], &PowerPlaces { sys: dir.path().into(), devices: vec![] });
        let whys: Vec<(Meter, String)> = found.into_iter().map(|(meter, found)| (meter, none(found).why)).collect();
        let expect = [(Meter::Rapl, "powercap is not there"), (Meter::Csv, "no meter of this host"), (Meter::Hwmon, "hwmon is not there")];
        assert_eq!(whys.len(), expect.len());
        for ((got, why), (meter, says)) in whys.iter().zip(expect) {
            assert!(*got == meter && why.contains(says), "{got:?}: {why}");
        }
    }
}
