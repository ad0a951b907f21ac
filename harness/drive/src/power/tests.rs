//! A made-up tree of the kernel's attributes, and libraries that are not there.

use super::*;
use std::fs;

/// A tree of files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn places(dir: &tempfile::TempDir) -> PowerPlaces {
    PowerPlaces { sys: dir.path().into(), devices: vec![] }
}

fn read(meter: &mut PowerMeter) -> Result<Vec<Sample>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(meter.telemetry.sample()).map_err(|e| e.to_string())
}

fn why(meter: Meter, places: &PowerPlaces) -> NoMeter {
    match look(meter, places) {
        Ok(found) => panic!("{:?} of {meter:?}", found.devices),
        Err(none) => none,
    }
}

const RAPL: [(&str, &str); 11] = [
    ("class/powercap/intel-rapl/enabled", "1\n"),
    ("class/powercap/intel-rapl:0/name", "package-0\n"),
    ("class/powercap/intel-rapl:0/energy_uj", "262143000000\n"),
    ("class/powercap/intel-rapl:0/max_energy_range_uj", "262143328850\n"),
    ("class/powercap/intel-rapl:0:0/name", "dram\n"),
    ("class/powercap/intel-rapl:0:0/energy_uj", "5\n"),
    ("class/powercap/intel-rapl:1/name", "package-1\n"),
    ("class/powercap/intel-rapl:1/energy_uj", "7000000\n"),
    ("class/powercap/intel-rapl:2/name", "psys\n"),
    ("class/powercap/intel-rapl:2/energy_uj", "9\n"),
    ("class/powercap/intel-rapl-mmio:0/name", "package-0\n"),
];

#[test]
fn packages_are_read_with_the_range_of_their_counters() {
    let dir = tree(&RAPL);
    let mut meter = look(Meter::Rapl, &places(&dir)).unwrap_or_else(|none| panic!("{none:?}"));
    assert_eq!((meter.scope, &meter.devices[..]), (Scope::Package, &["package-0".to_owned(), "package-1".into()][..]));
    let shown = |samples: Vec<Sample>| samples.into_iter().map(|s| (s.metric, s.labels, s.value)).collect::<Vec<_>>();
    let of = |labels: &str, joules| ("power.energy_joules_total".to_owned(), format!("scope=package,meter=rapl,{labels}"), joules);
    let first = shown(read(&mut meter).unwrap());
    assert_eq!(first, [of("device=package-0,range=262143.32885", 262_143.0), of("device=package-1", 7.0)]);
    // It starts again: what is stored is what was read, and its range says the rest.
    fs::write(dir.path().join("class/powercap/intel-rapl:0/energy_uj"), "1000000\n").unwrap();
    assert_eq!(shown(read(&mut meter).unwrap())[0], of("device=package-0,range=262143.32885", 1.0));
    fs::write(dir.path().join("class/powercap/intel-rapl:0/energy_uj"), "unreadable\n").unwrap();
    assert_eq!(shown(read(&mut meter).unwrap()), [of("device=package-1", 7.0)], "one that says nothing is left out");
    fs::remove_file(dir.path().join("class/powercap/intel-rapl:1/energy_uj")).unwrap();
    let error = read(&mut meter).unwrap_err();
    assert!(error.contains("reading RAPL of package-1") && error.contains("energy_uj"), "{error}");
}

#[test]
fn a_host_without_packages_says_why() {
    let none = why(Meter::Rapl, &places(&tree(&[])));
    assert!(none.why.ends_with("class/powercap is not there") && none.remedy.contains("virtual"), "{none:?}");
    let none = why(Meter::Rapl, &places(&tree(&RAPL[8..10])));
    assert!(none.why.ends_with("has no package"), "{none:?}");
    let dir = tree(&RAPL[1..2]);
    assert!(why(Meter::Rapl, &places(&dir)).why.contains("intel-rapl:0/energy_uj: No such file"));
}

#[cfg(unix)]
#[test]
fn a_counter_that_may_not_be_read_has_a_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let denied = rapl::unreadable(Path::new("energy_uj"), &std::io::ErrorKind::PermissionDenied.into());
    assert!(denied.why.contains("energy_uj: permission denied") && denied.remedy.contains("chmod"), "{denied:?}");
    let dir = tree(&RAPL);
    let counter = dir.path().join("class/powercap/intel-rapl:0/energy_uj");
    fs::set_permissions(&counter, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&counter).is_ok() {
        eprintln!("skipped: this user may read everything");
        return;
    }
    let none = why(Meter::Rapl, &places(&dir));
    assert!(none.why.contains("energy_uj: Permission denied") && none.remedy.contains("chmod"), "{none:?}");
}

#[test]
fn boards_of_the_hardware_monitor() {
    let dir = tree(&[
        ("class/hwmon/hwmon0/name", "nvme\n"),
        ("class/hwmon/hwmon0/power1_input", "1\n"),
        ("class/hwmon/hwmon1/name", "amdgpu\n"),
        ("class/hwmon/hwmon1/power1_average", "550000000\n"),
        ("class/hwmon/hwmon1/device/vendor", "0x1002\n"),
        ("class/hwmon/hwmon2/name", "xe\n"),
        ("class/hwmon/hwmon2/energy1_input", "2500000\n"),
        ("class/hwmon/hwmon3/name", "amdgpu\n"),
    ]);
    let mut meter = look(Meter::Hwmon, &places(&dir)).unwrap_or_else(|none| panic!("{none:?}"));
    assert_eq!(meter.devices, ["amdgpu-device", "xe-hwmon2"]);
    let values: Vec<_> = read(&mut meter).unwrap().into_iter().map(|s| (s.metric, s.value)).collect();
    assert_eq!(values, [("power.watts".to_owned(), 550.0), ("power.energy_joules_total".to_owned(), 2.5)]);
    let one = |want: &str| look(Meter::Hwmon, &PowerPlaces { devices: vec![want.into()], ..places(&dir) }).map(|meter| meter.devices);
    assert_eq!(one("xe").unwrap_or_default(), ["xe-hwmon2"]);
    let none = why(Meter::Hwmon, &PowerPlaces { devices: vec!["7".into()], ..places(&dir) });
    assert!(none.why.contains("none of its devices is called `7`") && none.remedy.contains("xe-hwmon2"), "{none:?}");
    let none = why(Meter::Hwmon, &PowerPlaces { devices: vec!["e".into()], ..places(&dir) });
    assert!(none.why.contains("several of its devices"), "{none:?}");
    let none = why(Meter::Hwmon, &places(&tree(&[("class/hwmon/hwmon0/name", "coretemp\n")])));
    assert!(none.why.contains("no board of amdgpu, xe, i915"), "{none:?}");
    assert!(why(Meter::Hwmon, &places(&tree(&[]))).why.contains("is not there"));
}

#[test]
fn a_library_is_there_or_says_why_not() {
    // On a host that has one the boards are read instead; on every other the loader's own words are the reason.
    for (meter, library) in [(Meter::Nvml, "libnvidia-ml.so"), (Meter::AmdSmi, "libamd_smi.so")] {
        match look(meter, &PowerPlaces::default()) {
            Ok(mut found) => assert!(!found.devices.is_empty() && !read(&mut found).unwrap().is_empty(), "{meter:?}"),
            Err(none) => assert!(!none.remedy.is_empty() && (none.why.contains(library) || !none.why.is_empty()), "{none:?}"),
        }
    }
    let Err(none) = library::Loaded::first(&["libnomoat-has-none.so.1"], "install it") else { panic!("there is such a library") };
    assert!(none.why.starts_with("libnomoat-has-none.so.1 does not load: ") && none.why.contains("No such file"), "{none:?}");
    let none = why(Meter::Csv, &PowerPlaces::default());
    assert!(none.why.contains("no meter of this host"), "{none:?}");
}
