use std::{
    os::unix::net::UnixListener,
    sync::mpsc,
    time::{Duration, Instant},
};

use nix::{sys::stat::Mode, unistd::mkfifo};

use super::*;
use crate::exit::Code;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("tracer-files-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_no_regular_file_of_some_size_is_refused_at_once() {
    let folder = Folder::new("kinds");
    let pipe = folder.0.join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let socket = folder.0.join("socket");
    let _socket = UnixListener::bind(&socket).unwrap();
    let large = folder.file("large", &vec![b'x'; LARGEST as usize + 1]);
    let binary = folder.file("binary", b"a: 1\nb: \xff\n");
    let zero = Path::new("/dev/zero");
    let cases = [
        (pipe.as_path(), "it is a named pipe, not a regular file"),
        (&socket, "it is a socket, not a regular file"),
        (&folder.0, "it is a directory, not a regular file"),
        (zero, "it is a device, not a regular file"),
        (&large, "it is larger than 1 MiB"),
        (&binary, "it is not UTF-8 in line 2"),
        (
            &folder.0.join("none"),
            "No such file or directory (os error 2)",
        ),
    ];
    let begun = Instant::now();
    for (path, said) in cases {
        let refused = read_text(path, LARGEST).unwrap_err();
        assert_eq!(refused.to_string(), said, "{path:?}");
        let exit = refused.exit(path, "--config");
        assert_eq!(exit.code(), Code::Config, "{exit}");
        assert!(exit.to_string().contains("; "), "no remedy: {exit}");
    }
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[test]
fn what_is_there_is_read() {
    let folder = Folder::new("good");
    let whole = folder.file("whole", &vec![b'x'; LARGEST as usize]);
    assert_eq!(read(&whole, LARGEST).unwrap().len() as u64, LARGEST);
    let marked = folder.file("marked", b"\xef\xbb\xbfa: 1\n");
    assert_eq!(read_text(&marked, LARGEST).unwrap(), "a: 1\n");
    let link = folder.0.join("link");
    std::os::unix::fs::symlink("marked", &link).unwrap();
    assert_eq!(read(&link, LARGEST).unwrap().len(), 8);
    // As /proc has them: regular, of size 0.
    assert!(
        !read(Path::new("/proc/self/status"), LARGEST)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_read_that_hangs_is_left_behind_and_not_begun_twice() {
    let path = Path::new("/a file of a test/that hangs");
    let short = Duration::from_millis(20);
    let (release, held) = mpsc::channel::<()>();
    let hangs = move || held.recv().unwrap();
    let refused = within(path, short, hangs).unwrap_err();
    assert!(matches!(refused, Refusal::Late), "{refused}");
    assert_eq!(refused.exit(path, "--config").code(), Code::Runtime);
    // Nobody waits for the same file meanwhile, and others are read.
    let refused = within(path, PATIENCE, || panic!("begun")).unwrap_err();
    assert!(matches!(refused, Refusal::Late), "{refused}");
    assert_eq!(within(Path::new("/another"), PATIENCE, || 7).unwrap(), 7);
    release.send(()).unwrap();
    let begun = Instant::now();
    while within(path, PATIENCE, || ()).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "it stays refused"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}
