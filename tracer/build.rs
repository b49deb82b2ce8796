//! Builds the kernel object into `OUT_DIR/tracer-ebpf` and names the commit.
//!
//! Without `bpf-linker` or rust-src, a debug build gets an empty object (so that plain
//! `cargo test` works anywhere) and a release build fails.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use aya_build::{Package, Toolchain};
use object::{
    build::elf::{Builder, SectionData},
    elf,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // At run time: a target folder may be shared by two checkouts.
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?)
        .join("..")
        .canonicalize()?;
    commit(&root);
    for path in [
        "tracer-common/src",
        "tracer-ebpf/src",
        "tracer-ebpf/Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
    }
    let missing = match (find_linker(&root), has_rust_src()) {
        (Some(folder), true) => return build_object(&root, &folder),
        (None, _) => "bpf-linker (cargo install bpf-linker --version 0.10.3 --locked)",
        (_, false) => "rust-src (rustup component add rust-src)",
    };
    // Not there: asked for again at every build, until it is.
    println!(
        "cargo:rerun-if-changed={}",
        root.join("target/tools/bin/bpf-linker").display()
    );
    let missing = format!("missing: {missing}; `cargo xtask demo` installs it");
    if env::var("PROFILE").as_deref() == Ok("release") {
        return Err(missing.into());
    }
    println!("cargo:warning={missing}. This debug build carries no kernel programs.");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("tracer-ebpf"), [])?;
    Ok(())
}

/// Whether core can be built for the BPF target.
fn has_rust_src() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output();
    sysroot.is_ok_and(|out| {
        let sysroot = String::from_utf8_lossy(&out.stdout);
        let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml");
        println!("cargo:rerun-if-changed={}", source.display());
        source.is_file()
    })
}

/// The folder of bpf-linker: where `cargo xtask` puts it, or on PATH.
fn find_linker(root: &Path) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let tools = root.join("target/tools/bin");
    std::iter::once(tools)
        .chain(env::split_paths(&path))
        .find(|folder| folder.join("bpf-linker").is_file())
}

fn build_object(root: &Path, linker: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path =
        env::join_paths(std::iter::once(linker.to_path_buf()).chain(env::split_paths(&path)))?;
    let toolchain = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "1.95.0".into());
    // SAFETY: a build script's main thread is its only thread here.
    unsafe { env::set_var("PATH", path) };
    // The BPF target has no prebuilt core; `-Z build-std` on the pinned stable
    // toolchain needs this, and only the cargo that aya-build runs sees it.
    // SAFETY: as above.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    // aya-build turns each line of that cargo into a warning of this one.
    // SAFETY: as above.
    unsafe { env::set_var("CARGO_TERM_QUIET", "true") };
    // No path of this machine in names and debug information: the same bytes everywhere.
    for (key, value) in [
        ("CARGO_UNSTABLE_TRIM_PATHS", "true"),
        ("CARGO_PROFILE_RELEASE_TRIM_PATHS", "object"),
    ] {
        // SAFETY: as above.
        unsafe { env::set_var(key, value) };
    }
    let root_dir = root.join("tracer-ebpf");
    let package = Package {
        name: "tracer-ebpf",
        root_dir: root_dir
            .to_str()
            .ok_or("the path of the checkout is not UTF-8")?,
        ..Package::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(&toolchain))?;
    strip(&Path::new(&env::var("OUT_DIR")?).join("tracer-ebpf"))
}

/// Takes out the DWARF, from which bpf-linker has made the BTF: four fifths of the object,
/// and nothing reads it.
fn strip(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = fs::read(path)?;
    let mut object = Builder::read(&*bytes)?;
    for section in object.sections.iter_mut() {
        let name = section.name.strip_prefix(b".rel").unwrap_or(&section.name);
        section.delete = name.starts_with(b".debug_");
    }
    object.delete_orphans();
    // LLVM keeps the names of sections with those of symbols; the writer wants them apart.
    let names = object.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = elf::SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    object.write(&mut stripped)?;
    fs::write(path, stripped)?;
    Ok(())
}

/// `TRACER_COMMIT` for `--version`: from the environment, else from git.
fn commit(root: &Path) {
    println!("cargo:rerun-if-env-changed=TRACER_COMMIT");
    println!(
        "cargo:rerun-if-changed={}",
        root.join(".git/HEAD").display()
    );
    println!(
        "cargo:rerun-if-changed={}",
        root.join(".git/refs/heads").display()
    );
    let from_git = || {
        let git = Command::new("git")
            .arg("-C")
            .arg(root)
            .args(["rev-parse", "--short=12", "HEAD"])
            .output();
        git.ok()
            .filter(|out| out.status.success())
            .and_then(|out| String::from_utf8(out.stdout).ok())
    };
    let commit = env::var("TRACER_COMMIT")
        .ok()
        .or_else(from_git)
        .unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=TRACER_COMMIT={}", commit.trim());
}
