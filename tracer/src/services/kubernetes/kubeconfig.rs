//! A kubeconfig, and the files that it names, all of which are read here: the client would wait
//! for them without a deadline.

use std::path::{Path, PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::FutureExt as _;
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig};

use crate::{
    exit::Exit,
    files::{self, LARGEST},
};

/// The flag that names one.
const FLAG: &str = "--kubeconfig";

/// What the kubeconfigs in `paths` say together, of the context in use; and the file that its
/// user's token is in.
///
/// # Errors
/// When a file cannot be read, or is wrong.
pub(super) fn read(paths: &[PathBuf]) -> Result<(kube::Config, Option<PathBuf>), Exit> {
    let shown = shown(paths);
    let bad = |e: anyhow::Error| {
        Exit::config(format!("kubeconfig {shown}"), format!("{e:#}"))
            .remedy(format!("check {FLAG}"))
    };
    let mut all = Kubeconfig::default();
    for path in paths {
        let text = files::read_text(path, LARGEST).map_err(|e| e.exit(path, FLAG))?;
        let mut one = Kubeconfig::from_yaml(&text).map_err(|e| bad(e.into()))?;
        absolute(&mut one, path.parent().unwrap_or(Path::new("")));
        all = all.merge(one).map_err(|e| bad(e.into()))?;
    }
    let (cluster, user) = in_use(&mut all);
    if let Some(cluster) = cluster {
        take_in_cluster(cluster)?;
    }
    let token = match user {
        Some(user) => take_in_user(user)?,
        None => None,
    };
    let options = KubeConfigOptions::default();
    // Nothing in it waits: the files are read.
    let config = kube::Config::from_custom_kubeconfig(all, &options).now_or_never();
    let config = config.ok_or_else(|| bad(anyhow::anyhow!("it waits for something")))?;
    Ok((config.map_err(|e| bad(e.into()))?, token))
}

/// The files as people know them.
pub(super) fn shown(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    paths.join(", ")
}

/// Relative names are relative to the folder of the kubeconfig.
fn absolute(kubeconfig: &mut Kubeconfig, folder: &Path) {
    let clusters = kubeconfig.clusters.iter_mut();
    let authorities = clusters.filter_map(|named| named.cluster.as_mut());
    let authorities = authorities.map(|cluster| &mut cluster.certificate_authority);
    let users = kubeconfig.auth_infos.iter_mut();
    let users = users.filter_map(|named| named.auth_info.as_mut());
    let of_users = users.flat_map(|user| {
        [
            &mut user.client_certificate,
            &mut user.client_key,
            &mut user.token_file,
        ]
    });
    for file in authorities.chain(of_users).flatten() {
        if let Some(joined) = folder.join(&*file).to_str() {
            *file = joined.to_owned();
        }
    }
}

/// The cluster and the user of the current context.
fn in_use(kubeconfig: &mut Kubeconfig) -> (Option<&mut Cluster>, Option<&mut AuthInfo>) {
    let named = kubeconfig.current_context.as_ref();
    let mut contexts = kubeconfig.contexts.iter();
    let context = contexts.find(|context| Some(&context.name) == named);
    let Some(context) = context.and_then(|named| named.context.as_ref()) else {
        return (None, None);
    };
    let mut clusters = kubeconfig.clusters.iter_mut();
    let cluster = clusters.find(|named| named.name == context.cluster);
    let mut users = kubeconfig.auth_infos.iter_mut();
    let user = users.find(|named| Some(&named.name) == context.user.as_ref());
    (
        cluster.and_then(|named| named.cluster.as_mut()),
        user.and_then(|named| named.auth_info.as_mut()),
    )
}

fn take_in_cluster(cluster: &mut Cluster) -> Result<(), Exit> {
    if let Some(file) = cluster.certificate_authority.take()
        && cluster.certificate_authority_data.is_none()
    {
        cluster.certificate_authority_data = Some(encoded(&file)?);
    }
    Ok(())
}

/// Returns the file of its token, which is read again and again.
fn take_in_user(user: &mut AuthInfo) -> Result<Option<PathBuf>, Exit> {
    if let Some(file) = user.client_certificate.take()
        && user.client_certificate_data.is_none()
    {
        user.client_certificate_data = Some(encoded(&file)?);
    }
    if let Some(file) = user.client_key.take()
        && user.client_key_data.is_none()
    {
        user.client_key_data = Some(encoded(&file)?.into());
    }
    // As the client has it: a password, or a token in place, stands before a file.
    let has_password = user.username.is_some() && user.password.is_some();
    let file = user.token_file.take().map(PathBuf::from);
    Ok(file.filter(|_| user.token.is_none() && !has_password))
}

fn encoded(file: &str) -> Result<String, Exit> {
    let file = Path::new(file);
    let bytes = files::read(file, LARGEST).map_err(|e| e.exit(file, FLAG))?;
    Ok(BASE64_STANDARD.encode(bytes))
}
