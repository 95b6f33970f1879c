//! The Debian package: put together from built programs, `docs` and `packaging/debian`, and looked at with the tools that will
//! handle it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use sluice_lab::requirements;

use crate::cargo::{cargo, root, target};
use crate::run::Log;
use crate::step::Outcome;

const PROGRAMS: [&str; 4] = ["sluice", "sluice-server", "sluice-router", "sluice-connector"];
const UNITS: [&str; 4] = ["sluice-server", "sluice-router", "sluice-connector", "sluice-connector-rootless"];
/// One for each interface.
const TEMPLATE: &str = "sluice-wireguard@.service";
/// Tenths, as `systemd-analyze security` reckons: 0 is nothing, 100 everything. Its own word for less than 30 is OK.
const EXPOSURE_MAX: &str = "25";

/// How `dpkg-deb` packs what is only looked at, and what is given away.
const FAST: [&str; 2] = ["-Zgzip", "-z1"];
const SMALL: [&str; 2] = ["-Zxz", "-z6"];

/// Arguments of `cargo xtask deb`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Of the programs that tests use, which are large and slow
    #[arg(long)]
    dev: bool,
}

/// `cargo xtask deb`.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    let (profile, flag) = if arguments.dev { ("debug", None) } else { ("release", Some("--release")) };
    // Of the whole workspace, as everything else builds it: parts of it would choose other features of their dependencies.
    let mut build = cargo(&["build", "--locked", "--workspace", "--bins"]);
    build.args(flag).current_dir(root());
    ensure!(build.status()?.success(), "the programs do not build");
    let package = make(&target().join(profile), if arguments.dev { FAST } else { SMALL })?;
    check(&package)?;
    println!("{}", package.display());
    Ok(ExitCode::SUCCESS)
}

/// The step of `cargo xtask test`: a package of what the tests run.
pub(crate) fn step(log: &Log) -> Result<Outcome> {
    for tool in ["dpkg-deb", "systemd-analyze"] {
        if !requirements::is_installed(tool) {
            return Ok(crate::checks::skip_or_fail(format!("{tool} is not there")));
        }
    }
    let built = make(&target().join("debug"), FAST).and_then(|package| check(&package));
    Ok(Outcome::from(built.map_err(|why| crate::run::Failure {
        reason: "the package is not as it should be".into(),
        log: format!("{why:?}\n{}", log.text()),
    })))
}

/// Puts it together from programs in this directory.
fn make(programs: &Path, compression: [&str; 2]) -> Result<PathBuf> {
    let tree = target().join("deb/sluice");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let packaging = root().join("packaging/debian");
    for program in PROGRAMS {
        let to = tree.join("usr/bin").join(program);
        install(&programs.join(program), &to, 0o755)?;
        run(Command::new("strip").arg("--strip-unneeded").arg(&to))?;
    }
    symlink("sluice-router", &tree.join("usr/bin/sluice-wireguard"))?;
    let units = UNITS.iter().map(|unit| format!("{unit}.service")).chain([TEMPLATE.to_owned()]);
    for unit in units {
        let from = root().join("docs/systemd").join(&unit);
        install(&from, &tree.join("usr/lib/systemd/system").join(&unit), 0o644)?;
    }
    install(&packaging.join("sluice.sysusers"), &tree.join("usr/lib/sysusers.d/sluice.conf"), 0o644)?;
    install(&packaging.join("60-sluice.sysctl"), &tree.join("usr/lib/sysctl.d/60-sluice.conf"), 0o644)?;
    documents(&tree, &packaging)?;
    command_line(&tree)?;
    control(&tree, &packaging)?;
    let package = target().join("deb").join(format!("sluice_{}_{}.deb", version(), architecture()?));
    let mut pack = Command::new("dpkg-deb");
    pack.arg("--root-owner-group").args(compression).arg("--build").arg(&tree).arg(&package);
    run(&mut pack)?;
    Ok(package)
}

fn documents(tree: &Path, packaging: &Path) -> Result<()> {
    let documents = tree.join("usr/share/doc/sluice");
    install(&packaging.join("copyright"), &documents.join("copyright"), 0o644)?;
    for name in ["operations.md", "control-plane.md", "access.md", "api.md", "glossary.md"] {
        install(&root().join("docs").join(name), &documents.join(name), 0o644)?;
    }
    for example in fs::read_dir(root().join("docs/examples"))? {
        let example = example?;
        install(&example.path(), &documents.join("examples").join(example.file_name()), 0o644)?;
    }
    install(&root().join("CHANGELOG.md"), &documents.join("CHANGELOG.md"), 0o644)?;
    run(Command::new("gzip").args(["-9n"]).arg(documents.join("CHANGELOG.md")))
}

/// Manual pages and completions, as far as the programs write them.
fn command_line(tree: &Path) -> Result<()> {
    let sluice = tree.join("usr/bin/sluice");
    let places = [
        ("bash", "usr/share/bash-completion/completions/sluice"),
        ("zsh", "usr/share/zsh/vendor-completions/_sluice"),
        ("fish", "usr/share/fish/vendor_completions.d/sluice.fish"),
    ];
    for (shell, place) in places {
        let written = Command::new(&sluice).args(["completions", shell]).output()?;
        if written.status.success() {
            write(&tree.join(place), &written.stdout, 0o644)?;
        }
    }
    let pages = tree.join("usr/share/man/man1");
    fs::create_dir_all(&pages)?;
    let written = Command::new(&sluice).arg("man").arg(&pages).output()?;
    if !written.status.success() {
        fs::remove_dir_all(tree.join("usr/share/man"))?;
        return Ok(());
    }
    for page in fs::read_dir(&pages)? {
        let page = page?.path();
        set_mode(&page, 0o644)?;
        run(Command::new("gzip").arg("-9n").arg(page))?;
    }
    Ok(())
}

fn control(tree: &Path, packaging: &Path) -> Result<()> {
    let text = fs::read_to_string(packaging.join("control.in"))?
        .replace("@VERSION@", &version())
        .replace("@ARCHITECTURE@", &architecture()?)
        .replace("@SIZE@", &size_kib(tree)?.to_string())
        .replace("@DEPENDS@", &libraries(tree)?);
    write(&tree.join("DEBIAN/control"), text.as_bytes(), 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        install(&packaging.join(script), &tree.join("DEBIAN").join(script), 0o755)?;
    }
    let sums = output(
        Command::new("sh")
            .current_dir(tree)
            .args(["-c", "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum"]),
    )?;
    write(&tree.join("DEBIAN/md5sums"), sums.as_bytes(), 0o644)
}

/// What the programs are linked with, as Debian calls it.
fn libraries(tree: &Path) -> Result<String> {
    // It reads the names of packages from a source package: this is none, so one is pretended.
    let pretended = target().join("deb/source");
    write(
        &pretended.join("debian/control"),
        b"Source: sluice\n\nPackage: sluice\nArchitecture: any\n",
        0o644,
    )?;
    let mut command = Command::new("dpkg-shlibdeps");
    command.current_dir(&pretended).args(["-O", "--warnings=0"]);
    for program in PROGRAMS {
        command.arg("-e").arg(tree.join("usr/bin").join(program));
    }
    let found = output(&mut command)?;
    let depends = found.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    Ok(depends.with_context(|| format!("no dependencies in {found}"))?.to_owned())
}

/// Unpacks it and has the programs that it is for look at it.
fn check(package: &Path) -> Result<()> {
    let tree = target().join("deb/unpacked");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&tree))?;
    for program in PROGRAMS {
        let told = output(Command::new(tree.join("usr/bin").join(program)).arg("--version"))?;
        ensure!(told.contains(env!("CARGO_PKG_VERSION")), "{program} says {told}");
    }
    // What units start beside our programs.
    for program in ["usr/bin/wg", "bin/kill"] {
        write(&tree.join(program), b"#!/bin/sh\n", 0o755)?;
    }
    for unit in UNITS.iter().map(|unit| format!("{unit}.service")).chain([TEMPLATE.replace('@', "@wg0")]) {
        verify(&tree, &unit)?;
    }
    for unit in UNITS {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX]);
        run(command.arg(format!("--root={}", tree.display())).arg(format!("{unit}.service")))?;
    }
    if requirements::is_installed("lintian") {
        let tags = "no-manual-page,initial-upload-closes-no-bugs,no-changelog,unstripped-binary-or-object";
        run(Command::new("lintian")
            .args(["--fail-on", "error", "--allow-root", "--suppress-tags", tags])
            .arg(package))?;
    }
    Ok(())
}

/// Not a word of complaint.
fn verify(tree: &Path, unit: &str) -> Result<()> {
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--recursive-errors=no"]).arg(format!("--root={}", tree.display()));
    let done = command.arg(format!("/usr/lib/systemd/system/{unit}")).output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success() && said.trim().is_empty(), "{unit}: {said}");
    Ok(())
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

fn architecture() -> Result<String> {
    Ok(output(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned())
}

fn size_kib(tree: &Path) -> Result<u64> {
    let told = output(Command::new("du").arg("-sk").arg(tree))?;
    told.split_whitespace().next().context("du says nothing")?.parse().context("du says no number")
}

fn install(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    write(to, &content, mode)
}

fn write(to: &Path, content: &[u8], mode: u32) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
        // Whatever the umask.
        for directory in
            parent.ancestors().take_while(|directory| directory.starts_with(target().join("deb")))
        {
            set_mode(directory, 0o755)?;
        }
    }
    fs::write(to, content).with_context(|| format!("write {}", to.display()))?;
    set_mode(to, mode)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

fn symlink(to: &str, at: &Path) -> Result<()> {
    Ok(std::os::unix::fs::symlink(to, at)?)
}

fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

fn output(command: &mut Command) -> Result<String> {
    let shown = crate::run::show(command);
    let done = command.output().with_context(|| format!("start `{shown}`"))?;
    let (told, said) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "`{shown}` ended with {}:\n{told}{said}", done.status);
    Ok(told.into_owned())
}
