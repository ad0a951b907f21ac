//! The folder that keeps what was installed: `NOMOAT_ENGINES_CACHE`, else `nomoat-engines` in the user's cache folder. Deleting it is
//! always safe.

use super::fill::Names;
use super::process;
use super::spec::{Install, Model, Spec};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What brings everything else.
const UV: &str = "uv==0.11.33";
/// What the makers of models need.
const MAKERS: [&str; 4] = ["numpy==2.4.6", "safetensors==0.8.0", "tokenizers==0.23.3", "gguf==0.19.0"];

/// The folder.
pub struct Cache {
    root: PathBuf,
    scripts: PathBuf,
}

impl Cache {
    /// Finds it; `scripts` is the folder of the engines' files.
    pub fn find(scripts: PathBuf) -> Result<Self> {
        let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = named("NOMOAT_ENGINES_CACHE")
            .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("nomoat-engines")))
            .or_else(|| named("HOME").map(|home| home.join(".cache/nomoat-engines")))
            .context("finding a cache folder: set NOMOAT_ENGINES_CACHE")?;
        std::fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        let root = std::fs::canonicalize(&root).with_context(|| format!("finding {}", root.display()))?;
        Ok(Self { root, scripts })
    }

    /// Where an engine's logs are.
    pub fn logs(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(name)
    }

    fn env(&self, name: &str) -> PathBuf {
        self.root.join("env").join(name)
    }

    /// A Python that can read what the makers wrote.
    pub fn python(&self) -> PathBuf {
        self.env("makers").join("bin/python")
    }

    /// What an engine's file may speak of.
    pub fn names(&self, spec: &Spec) -> Names {
        let path = |path: PathBuf| path.display().to_string();
        let model = self.root.join("models").join(&spec.model.name);
        let mut names = Names::default();
        names.set("env", path(self.env(env_name(spec))));
        names.set("build", path(self.build(spec)));
        names.set("scripts", path(self.scripts.clone()));
        names.set("gguf", path(model.with_extension("gguf")));
        names.set("model", path(model));
        names.set("served", spec.model.name.clone());
        names.set("work", path(self.logs(&spec.name).join("work")));
        names
    }

    fn build(&self, spec: &Spec) -> PathBuf {
        self.root.join("build").join(&spec.name)
    }

    /// Installs an engine and makes its model, as far as they are not there.
    ///
    /// # Errors
    /// Something is missing or fails; the words say what, and the log has the rest.
    pub fn prepare(&self, spec: &Spec) -> Result<()> {
        let log = self.logs(&spec.name).join("install.log");
        std::fs::create_dir_all(self.logs(&spec.name)).with_context(|| format!("making {}", self.logs(&spec.name).display()))?;
        std::fs::write(&log, "").with_context(|| format!("writing {}", log.display()))?;
        let install = &spec.install;
        for tool in &install.tools {
            ensure!(find(tool).is_some(), "it needs the program `{tool}`, which is not on the PATH");
        }
        self.uv(&log)?;
        self.packages("makers", &MAKERS.map(String::from), &[], 1, &log)?;
        self.model(&spec.model, &log)?;
        if !install.packages.is_empty() {
            self.packages(env_name(spec), &install.packages, &install.overrides, install.disk_gb, &log)?;
        }
        self.steps(spec, install, &log)
    }

    fn uv(&self, log: &Path) -> Result<()> {
        let venv = self.root.join("tool/uv");
        once(&venv.join("installed"), UV, || {
            let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
            process::call(Command::new(python).args(["-m", "venv", "--clear"]).arg(&venv), log)?;
            process::call(Command::new(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet", UV]), log)
        })
        .context("installing uv")
    }

    fn uv_command(&self) -> Command {
        let mut command = Command::new(self.root.join("tool/uv/bin/uv"));
        command.env("UV_CACHE_DIR", self.root.join("uv-cache"));
        command
    }

    fn packages(&self, name: &str, packages: &[String], overrides: &[String], disk_gb: u64, log: &Path) -> Result<()> {
        let venv = self.env(name);
        let wanted = format!("{}\noverridden by\n{}\n", packages.join("\n"), overrides.join("\n"));
        once(&venv.join("installed"), &wanted, || {
            self.needs(disk_gb)?;
            process::call(self.uv_command().args(["venv", "--quiet", "--clear"]).arg(&venv), log)?;
            let list = venv.join("overrides.txt");
            std::fs::write(&list, overrides.join("\n")).with_context(|| format!("writing {}", list.display()))?;
            let mut command = self.uv_command();
            command.args(["pip", "install", "--quiet", "--python"]).arg(venv.join("bin/python")).arg("--overrides").arg(&list);
            process::call(command.args(packages), log)
        })
        .with_context(|| format!("installing {}", packages.join(" ")))
    }

    fn needs(&self, disk_gb: u64) -> Result<()> {
        let free = rustix::fs::statvfs(&self.root).with_context(|| format!("asking for free space at {}", self.root.display()))?;
        let free_gb = free.f_bavail * free.f_frsize / 1_000_000_000;
        ensure!(free_gb >= disk_gb, "it needs {disk_gb} GB of disk and {free_gb} GB are free at {}", self.root.display());
        Ok(())
    }

    fn model(&self, model: &Model, log: &Path) -> Result<()> {
        let folder = self.root.join("models").join(&model.name);
        let maker = self.scripts.join("make_tiny_model.py");
        let text = std::fs::read_to_string(&maker).with_context(|| format!("reading {}", maker.display()))?;
        // The maker's own bytes belong to what is wanted, so that a changed maker makes a new model.
        let wanted = format!("{}\n{text}", model.args.join(" "));
        once(&folder.join("made"), &wanted, || process::call(Command::new(self.python()).arg(&maker).arg(&folder).args(&model.args), log))
            .with_context(|| format!("making the model {}", model.name))?;
        let file = folder.with_extension("gguf");
        if model.gguf && !file.exists() {
            let mut command = Command::new(self.python());
            process::call(command.arg(self.scripts.join("tiny_to_gguf.py")).arg(&folder).arg(&file).args(["--dtype", "f32"]), log)
                .with_context(|| format!("writing {}", file.display()))?;
        }
        Ok(())
    }

    fn steps(&self, spec: &Spec, install: &Install, log: &Path) -> Result<()> {
        if install.steps.is_empty() {
            return Ok(());
        }
        let folder = self.build(spec);
        let names = self.names(spec);
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let wanted = format!("{:?}", install.steps);
        once(&folder.join("built"), &wanted, || {
            self.needs(install.disk_gb)?;
            for step in &install.steps {
                let words = names.fill_all(step)?;
                let Some((program, rest)) = words.split_first() else { bail!("an empty step of the installation") };
                process::call(Command::new(program).args(rest).current_dir(&folder), log)?;
            }
            Ok(())
        })
    }
}

fn env_name(spec: &Spec) -> &str {
    spec.install.env.as_deref().unwrap_or(&spec.name)
}

/// Does something unless `mark` says that the same was done, and writes that afterwards.
fn once(mark: &Path, wanted: &str, doing: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::fs::read_to_string(mark).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    doing()?;
    std::fs::write(mark, wanted).with_context(|| format!("writing {}", mark.display()))
}

/// A program on the PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_done_once_for_the_same_words() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let mut done = vec![];
        let mut go = |wanted: &str, fails: bool| {
            let outcome = once(&mark, wanted, || {
                done.push(wanted.to_owned());
                ensure!(!fails, "it fails");
                Ok(())
            });
            assert_eq!(outcome.is_err(), fails);
        };
        // What failed is tried again, what is there is not, what is wanted otherwise is.
        go("a", true);
        go("a", false);
        go("a", false);
        go("b", false);
        assert_eq!(done, ["a", "a", "b"]);
    }

    #[test]
    fn programs_on_the_path() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-of-any-kind").is_none());
    }
}
