//! The seeds of the fuzz targets (`fuzz/corpus`): made here, and played through
//! the same functions that the fuzzers run. `TRACER_SEEDS=write` writes them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../../fuzz/targets/capture.rs"]
mod capture;
#[path = "../../../fuzz/targets/first_bytes.rs"]
mod first_bytes;
#[path = "../../../fuzz/targets/machine.rs"]
mod machine;
#[path = "../../../fuzz/targets/packet.rs"]
mod packet;
#[path = "../../../fuzz/targets/replay.rs"]
mod replay;
mod seeds;
#[expect(dead_code, reason = "the command's tests use all of it")]
mod wrap;
#[expect(dead_code, reason = "the command's tests use all of it")]
mod write;

use std::{collections::BTreeMap, fs, path::PathBuf};

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 5] = [
    ("capture", capture::run),
    ("first_bytes", first_bytes::run),
    ("machine", machine::run),
    ("packet", packet::run),
    ("replay", replay::run),
];

fn corpus(target: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("../fuzz/corpus").join(target)
}

#[test]
fn seeds_are_those_of_the_tests() {
    for (target, seeds) in seeds::all() {
        for (name, bytes) in seeds {
            let path = corpus(target).join(&name);
            if std::env::var_os("TRACER_SEEDS").is_some() {
                fs::create_dir_all(corpus(target)).unwrap();
                fs::write(&path, &bytes).unwrap();
            }
            let found = fs::read(&path).unwrap_or_default();
            assert!(
                found == bytes,
                "{target}/{name}: TRACER_SEEDS=write cargo test"
            );
        }
    }
}

/// Whatever stands in the corpus, found by fuzzing or made here.
#[test]
fn the_corpus_holds() {
    for (target, run) in TARGETS {
        let files: BTreeMap<_, _> = fs::read_dir(corpus(target))
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                (path.clone(), fs::read(path).unwrap())
            })
            .collect();
        assert!(!files.is_empty(), "{target}");
        for (path, bytes) in files {
            println!("{}", path.display());
            run(&bytes);
        }
    }
}
