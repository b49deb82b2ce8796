//! The files that lead to an API: a kubeconfig and what it names.

use std::{fs, path::PathBuf};

use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::json;

use super::{
    super::*,
    api::Api,
    bed::{Bed, well},
};
use crate::exit::Code;

/// A folder with `token` (which ends in a newline, as editors leave it), `pipe` and the folder
/// `folder`; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("tracer-kube-{}-{name}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(folder.0.join("folder")).unwrap();
        fs::write(folder.0.join("token"), "of-the-test\n").unwrap();
        mkfifo(&folder.0.join("pipe"), Mode::S_IRWXU).unwrap();
        folder
    }

    fn kubeconfig(&self, cluster: serde_json::Value, user: serde_json::Value) -> Access {
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        let path = self.0.join("kubeconfig");
        fs::write(&path, text.to_string()).unwrap();
        Access::Kubeconfig(Some(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_token_comes_from_a_file_beside_the_kubeconfig() {
    let api = Api::new(false);
    well(&api);
    let folder = Folder::new("token");
    let server = json!({"server": format!("http://{}", api.address)});
    let access = folder.kubeconfig(server, json!({"tokenFile": "token"}));
    access.check().unwrap();
    // The API panics at any other token.
    let bed = Bed::by(access);
    bed.wait_synced(true);
}

#[test]
fn what_is_no_file_is_refused_with_its_name() {
    let folder = Folder::new("kinds");
    let server = "https://127.0.0.1:1";
    let refused = |access: Access, named: &str, cause: &str| {
        let exit = access.check().unwrap_err();
        let said = exit.to_string();
        assert_eq!(exit.code(), Code::Config, "{said}");
        for part in [named, cause, "--kubeconfig"] {
            assert!(said.contains(part), "no {part}: {said}");
        }
    };
    let pipe = folder.0.join("pipe");
    refused(Access::Kubeconfig(Some(pipe)), "/pipe:", "a named pipe");
    let zero = PathBuf::from("/dev/zero");
    refused(Access::Kubeconfig(Some(zero)), "/dev/zero:", "a device");
    let authority = json!({"server": server, "certificate-authority": "/dev/zero"});
    let access = folder.kubeconfig(authority, json!({}));
    refused(access, "/dev/zero:", "a device");
    let certificate = json!({"client-certificate": "pipe", "client-key": "none"});
    let access = folder.kubeconfig(json!({"server": server}), certificate);
    refused(access, "/pipe:", "a named pipe");
    let token = json!({"tokenFile": "folder"});
    let access = folder.kubeconfig(json!({"server": server}), token);
    refused(access, "/folder:", "a directory");
    // Of another context nothing is read.
    let unused = json!({"server": server, "certificate-authority": "pipe"});
    let access = folder.kubeconfig(unused, json!({}));
    let Access::Kubeconfig(Some(path)) = &access else {
        panic!("{access:?}")
    };
    let text = fs::read_to_string(path).unwrap();
    let text = text.replace("\"cluster\":\"test\"", "\"cluster\":\"another\"");
    fs::write(path, text).unwrap();
    let said = access.check().unwrap_err().to_string();
    assert!(!said.contains("pipe"), "{said}");
}
