//! The running average power limit of processors, by the kernel's powercap folder: energy counters of packages, which start again at zero.
//!
//! A package holds its cores, caches and integrated graphics, whoever uses them; memory modules are domains of their own and are not
//! read. AMD's processors appear here too, since Linux 5.8.

use super::{Device, Found, NoMeter, Reading, attribute, entries, number};
use std::path::{Path, PathBuf};

/// One package.
struct Package {
    name: String,
    energy: PathBuf,
    /// Joules after which the counter starts again.
    range: Option<f64>,
}

/// The packages of a host whose attributes are below `sys`.
pub(super) fn find(sys: &Path) -> Result<Found, NoMeter> {
    let folder = sys.join("class/powercap");
    let Some(domains) = entries(&folder) else {
        let remedy = "virtual machines have none; on a machine of your own `modprobe intel_rapl_msr`";
        return Err(NoMeter::new(format!("{} is not there", folder.display()), remedy));
    };
    let mut found: Found = vec![];
    for domain in domains {
        // Domains of a package have two numbers; those of other interfaces to the same counters have another prefix.
        let of_kernel = domain.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("intel-rapl:"));
        let is_package = of_kernel.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        let name = attribute(&domain.join("name")).unwrap_or_default();
        if !is_package || !name.starts_with("package") {
            continue;
        }
        let range = number(&domain.join("max_energy_range_uj")).ok().map(|range| range as f64 / 1e6);
        let package = Package { name, energy: domain.join("energy_uj"), range };
        std::fs::File::open(&package.energy).map_err(|error| unreadable(&package.energy, &error))?;
        package.read().map_err(|why| NoMeter::new(why, ""))?;
        found.push(Box::new(package));
    }
    if found.is_empty() {
        return Err(NoMeter::new(format!("{} has no package", folder.display()), "`modprobe intel_rapl_msr`"));
    }
    Ok(found)
}

/// Why a counter cannot be read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> NoMeter {
    let remedy = if error.kind() == std::io::ErrorKind::PermissionDenied {
        "only root may read it, because it tells others what is computed here: `sudo chmod a+r` it for the measurement, or run as root"
    } else {
        ""
    };
    NoMeter::new(format!("{}: {error}", path.display()), remedy)
}

impl Device for Package {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> Result<Reading, String> {
        Ok(Reading { joules: Some(number(&self.energy)? as f64 / 1e6), range: self.range, watts: None })
    }
}
