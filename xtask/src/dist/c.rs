//! The C library as a prefix. It may be moved: nothing in it knows where it lies.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use xshell::{Shell, cmd};

use super::{PROFILE, licences};
use crate::target;

/// How large the shared library may be without its symbols.
const LARGEST: u64 = 8 << 20;

/// The newest GLIBC that the shared library may ask for (ffi-c/README.md).
const NEWEST_GLIBC: (u32, u32) = (2, 34);

/// What a program that has the library inside of it is linked to as well: what rustc says, which is looked at whenever it is built here.
const NATIVE_LIBRARIES: &str = "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc";

/// What cargo calls the library.
const BUILT: &str = "libhybridrelay_c";

pub(super) fn run(sh: &Shell, prefix: &Path, artefacts: Option<&Path>) -> Result<()> {
    let built = match artefacts {
        Some(folder) => folder.to_owned(),
        None => build(sh)?,
    };
    let version = version(sh)?;
    let shared = install(sh, prefix, &built, &version)?;
    check_exports(sh, &shared)?;
    check_glibc(sh, &shared)?;
    if artefacts.is_none() {
        check_size(&shared)?;
    }
    println!("libhybridrelay {version} is in {}", prefix.display());
    Ok(())
}

/// Builds the library, and compares what rustc says of its static form with what pkg-config and CMake will.
fn build(sh: &Shell) -> Result<PathBuf> {
    let target = target(sh);
    let said = target.join("native-static-libs.txt");
    let print = format!("native-static-libs={}", said.display());
    let selection = ["--locked", "--package", "hybridrelay-ffi-c", "--lib", "--profile", PROFILE];
    // Without the form for Rust programs, beside which cargo does not optimise the others as a whole.
    let types = ["--crate-type", "cdylib,staticlib"];
    cmd!(sh, "cargo rustc {selection...} {types...} -- --print {print}").run()?;
    let said = sh.read_file(&said)?;
    let set = |list: &str| list.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
    ensure!(
        set(&said) == set(NATIVE_LIBRARIES),
        "rustc wants other native libraries than the static library tells: {} and not {NATIVE_LIBRARIES}",
        said.trim()
    );
    Ok(target.join(PROFILE))
}

fn version(sh: &Shell) -> Result<String> {
    let manifest: toml::Table = sh.read_file("Cargo.toml")?.parse()?;
    let version = manifest["workspace"]["package"]["version"].as_str();
    Ok(version.context("the workspace has a version")?.to_owned())
}

/// Lays everything out and returns the shared library.
fn install(sh: &Shell, prefix: &Path, built: &Path, version: &str) -> Result<PathBuf> {
    let lib = prefix.join("lib");
    let shared = lib.join(format!("libhybridrelay.so.{version}"));
    for folder in [prefix.join("include"), lib.join("pkgconfig"), lib.join("cmake/hybridrelay")] {
        sh.create_dir(folder)?;
    }
    sh.copy_file("ffi-c/include/hybridrelay.h", prefix.join("include/hybridrelay.h"))?;
    sh.copy_file(built.join(format!("{BUILT}.so")), &shared)?;
    cmd!(sh, "strip --strip-unneeded {shared}").quiet().run()?;
    let archive = lib.join("libhybridrelay.a");
    sh.copy_file(built.join(format!("{BUILT}.a")), &archive)?;
    cmd!(sh, "strip --strip-debug {archive}").quiet().run()?;
    // What programs ask for at run time is the soname, which the library was linked with.
    let (soname, exact) = (soname(sh, &shared)?, format!("libhybridrelay.so.{version}"));
    for (link, to) in [(soname.as_str(), exact.as_str()), ("libhybridrelay.so", &soname)] {
        sh.remove_path(lib.join(link))?;
        std::os::unix::fs::symlink(to, lib.join(link)).with_context(|| format!("cannot link {link} to {to}"))?;
    }
    for (name, text) in [("hybridrelay.pc", PKG_CONFIG), ("hybridrelay-static.pc", PKG_CONFIG_STATIC)] {
        sh.write_file(lib.join("pkgconfig").join(name), fill(text, version))?;
    }
    for (name, text) in [("Config", CMAKE_CONFIG), ("ConfigVersion", CMAKE_VERSION)] {
        sh.write_file(lib.join(format!("cmake/hybridrelay/hybridrelay{name}.cmake")), fill(text, version))?;
    }
    licences::install(sh, "hybridrelay-ffi-c", &prefix.join("share/doc/hybridrelay"))?;
    Ok(shared)
}

fn fill(template: &str, version: &str) -> String {
    // CMake wants a list with semicolons and without the dashes.
    let list: Vec<_> = NATIVE_LIBRARIES.split_whitespace().map(|flag| flag.trim_start_matches("-l")).collect();
    let template = template.replace("@NATIVE_LIST@", &list.join(";"));
    template.replace("@VERSION@", version).replace("@NATIVE@", NATIVE_LIBRARIES)
}

fn soname(sh: &Shell, shared: &Path) -> Result<String> {
    let dynamic = cmd!(sh, "objdump -p {shared}").quiet().read()?;
    let name = dynamic.lines().find_map(|line| line.trim().strip_prefix("SONAME"));
    Ok(name.context("the shared library has no soname")?.trim().to_owned())
}

/// Only `hr_*` is to be seen from outside.
fn check_exports(sh: &Shell, shared: &Path) -> Result<()> {
    let defined = cmd!(sh, "nm -D --defined-only {shared}").quiet().read()?;
    let names: Vec<_> = defined.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    let foreign: Vec<_> = names.iter().filter(|name| !name.starts_with("hr_")).collect();
    ensure!(foreign.is_empty(), "the library shows more than its interface: {foreign:?}");
    ensure!(!names.is_empty(), "the library shows nothing");
    println!("{} functions are exported, all of them hr_*", names.len());
    Ok(())
}

fn check_glibc(sh: &Shell, shared: &Path) -> Result<()> {
    let undefined = cmd!(sh, "objdump -T {shared}").quiet().read()?;
    let version = |text: &str| {
        let mut numbers = text.split('.').map(|number| number.parse::<u32>().ok());
        Some((numbers.next()??, numbers.next().flatten().unwrap_or(0)))
    };
    let asked = undefined.split("GLIBC_").skip(1);
    let asked = asked.filter_map(|text| version(text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?));
    let (major, minor) = asked.max().context("the library uses no GLIBC")?;
    println!("the newest GLIBC symbol is of {major}.{minor}");
    if (major, minor) > NEWEST_GLIBC {
        bail!("the library asks for GLIBC {major}.{minor}, and {}.{} is what it may", NEWEST_GLIBC.0, NEWEST_GLIBC.1);
    }
    Ok(())
}

fn check_size(shared: &Path) -> Result<()> {
    let size = std::fs::metadata(shared)?.len();
    println!("the shared library has {:.2} MiB", size as f64 / f64::from(1 << 20));
    ensure!(size <= LARGEST, "the shared library has {size} bytes, and {LARGEST} is the most that it may");
    Ok(())
}

const PKG_CONFIG: &str = r"prefix=${pcfiledir}/../..
includedir=${prefix}/include
libdir=${prefix}/lib

Name: hybridrelay
Description: Listeners and senders for Azure Relay Hybrid Connections and the hybridrelay server
Version: @VERSION@
Cflags: -I${includedir}
Libs: -L${libdir} -lhybridrelay
Libs.private: @NATIVE@
";

const PKG_CONFIG_STATIC: &str = r"prefix=${pcfiledir}/../..
includedir=${prefix}/include
libdir=${prefix}/lib

Name: hybridrelay-static
Description: The same as hybridrelay, inside of the program, also where the shared library lies beside it
Version: @VERSION@
Cflags: -I${includedir}
Libs: ${libdir}/libhybridrelay.a @NATIVE@
";

const CMAKE_CONFIG: &str = r#"# find_package(hybridrelay): the targets hybridrelay::hybridrelay (shared) and hybridrelay::static.
get_filename_component(_hybridrelay_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET hybridrelay::hybridrelay)
  add_library(hybridrelay::hybridrelay SHARED IMPORTED)
  set_target_properties(hybridrelay::hybridrelay PROPERTIES
    IMPORTED_LOCATION "${_hybridrelay_prefix}/lib/libhybridrelay.so.@VERSION@"
    IMPORTED_SONAME "libhybridrelay.so.0"
    INTERFACE_INCLUDE_DIRECTORIES "${_hybridrelay_prefix}/include")
  add_library(hybridrelay::static STATIC IMPORTED)
  set_target_properties(hybridrelay::static PROPERTIES
    IMPORTED_LOCATION "${_hybridrelay_prefix}/lib/libhybridrelay.a"
    IMPORTED_LINK_INTERFACE_LANGUAGES "C"
    INTERFACE_INCLUDE_DIRECTORIES "${_hybridrelay_prefix}/include"
    INTERFACE_LINK_LIBRARIES "@NATIVE_LIST@")
endif()

unset(_hybridrelay_prefix)
"#;

/// Before 1.0 a new minor version may break the interface.
const CMAKE_VERSION: &str = r#"set(PACKAGE_VERSION "@VERSION@")
string(REGEX MATCH "^[0-9]+\\.[0-9]+" _hybridrelay_series "${PACKAGE_VERSION}")
string(REGEX MATCH "^[0-9]+\\.[0-9]+" _hybridrelay_wanted "${PACKAGE_FIND_VERSION}")
if(PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
elseif(PACKAGE_FIND_VERSION_COUNT LESS 2 OR _hybridrelay_series STREQUAL _hybridrelay_wanted)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
else()
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
endif()
if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
  set(PACKAGE_VERSION_EXACT TRUE)
endif()
unset(_hybridrelay_series)
unset(_hybridrelay_wanted)
"#;
