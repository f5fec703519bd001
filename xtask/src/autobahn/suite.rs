//! The suite itself: it needs CPython 2.7, which lives in a root file system of an older Debian, below `target/tools/autobahn`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::setup::{self, Stamp};

/// The last Debian with Python 2.
const RELEASE: &str = "bullseye";

/// Where it comes from, if `DEBIAN_MIRROR` names no other place.
const MIRROR: &str = "http://deb.debian.org/debian";

const PACKAGES: &str = "python2.7,python-pip-whl,python-setuptools";

/// Raised when something else about the making changes.
const RECIPE: u32 = 1;

/// The certificates that this machine trusts; the suite's Python gets the same.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

pub(crate) struct Suite {
    root: PathBuf,
}

impl Suite {
    /// Where reports are written, as the suite sees it.
    pub(crate) const REPORTS: &'static str = "/reports";

    /// Makes the root file system, once: about two minutes, 250 MB.
    pub(crate) fn prepare(sh: &Shell) -> Result<Self> {
        let is_root = cmd!(sh, "id -u").quiet().read().is_ok_and(|id| id.trim() == "0");
        ensure!(is_root, "the suite runs in a root file system of its own, which takes root to enter");
        let folder = sh.current_dir().join("target/tools/autobahn");
        let root = folder.join("root");
        let requirements = sh.read_file("tests/autobahn/requirements.txt")?;
        let mirror = sh.var("DEBIAN_MIRROR").unwrap_or_else(|_| MIRROR.to_owned());
        let stamp = Stamp {
            file: folder.join("installed-from"),
            contents: format!("recipe {RECIPE}\n{mirror} {RELEASE} {PACKAGES}\n{requirements}"),
        };
        if !stamp.is_current(sh) {
            setup::for_autobahn(sh)?;
            sh.remove_path(&stamp.file)?;
            install(sh, &root, &mirror, &requirements)?;
            stamp.write(sh)?;
        }
        Ok(Self { root })
    }

    /// The suite in one of its modes.
    pub(crate) fn command(&self, mode: &str, spec: &Value) -> Result<Command> {
        let reports = self.inside(Self::REPORTS);
        if reports.exists() {
            std::fs::remove_dir_all(&reports)?;
        }
        std::fs::write(self.inside("/spec.json"), spec.to_string())?;
        let mut command = Command::new("chroot");
        command.arg(&self.root).args(["/usr/local/bin/wstest", "--mode", mode, "--spec", "/spec.json"]);
        // It warns of its own age, and is told that a person reads along.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("PYTHONUNBUFFERED", "1");
        command.env("PYTHONWARNINGS", "ignore");
        // Thousands of lines, to be read when something is wrong.
        command.stdout(File::create(self.log(mode))?);
        Ok(command)
    }

    /// What it says while it runs.
    pub(crate) fn log(&self, mode: &str) -> PathBuf {
        self.root.with_file_name(format!("{mode}.log"))
    }

    /// What came out: JSON.
    pub(crate) fn report(&self) -> Result<String> {
        let file = self.inside(Self::REPORTS).join("index.json");
        std::fs::read_to_string(&file).with_context(|| format!("the suite wrote no report: {}", file.display()))
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

fn install(sh: &Shell, root: &Path, mirror: &str, requirements: &str) -> Result<()> {
    eprintln!("the Autobahn test suite comes into {}, once", root.display());
    // Nothing is ever mounted in there, so nothing else than what was installed is removed.
    cmd!(sh, "rm --recursive --force --one-file-system {root}").quiet().run()?;
    if let Some(folder) = root.parent() {
        sh.create_dir(folder)?;
    }
    // An old release is no longer signed anew, so what says how fresh it is has expired.
    let options = [
        "--aptopt=Acquire::Check-Valid-Until \"false\"",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
    ];
    let (packages, source) = (format!("--include={PACKAGES}"), format!("deb {mirror} {RELEASE} main"));
    cmd!(sh, "mmdebstrap --quiet --mode=root --variant=minbase {packages} {options...} {RELEASE} {root} {source}")
        .run()?;

    if let Ok(certificates) = std::fs::read(Path::new("/").join(CERTIFICATES)) {
        sh.write_file(root.join(CERTIFICATES), certificates)?;
    }
    sh.write_file(root.join("requirements.txt"), requirements)?;
    // Debian keeps Python 2's pip as a wheel that runs from where it is.
    let wheels = root.join("usr/share/python-wheels");
    let pip = sh.read_dir(&wheels)?.into_iter().find_map(|wheel| {
        let name = wheel.file_name()?.to_str()?;
        (name.starts_with("pip-")).then(|| format!("/usr/share/python-wheels/{name}"))
    });
    let pip = format!("PYTHONPATH={}", pip.context("Debian's pip is not where it was")?);
    let trust = format!("PIP_CERT=/{CERTIFICATES}");
    let proxies = ["http_proxy", "https_proxy", "no_proxy"];
    let proxies = proxies.iter().filter_map(|name| Some(format!("{name}={}", sh.var(name).ok()?)));
    let environment: Vec<_> = ["PATH=/usr/bin:/bin".to_owned(), pip, trust].into_iter().chain(proxies).collect();
    let install = [
        "python2.7",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--no-warn-script-location",
    ];
    cmd!(
        sh,
        "chroot {root} env --ignore-environment {environment...} {install...} --no-deps --requirement /requirements.txt"
    )
    .run()?;
    Ok(())
}
