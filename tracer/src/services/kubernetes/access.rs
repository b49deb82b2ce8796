//! How the API is reached.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use kube::{
    Client,
    client::ClientBuilder,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};

use super::{Health, transport::Transport};
use crate::{
    config::{Config, Kubernetes},
    exit::Exit,
    privileges,
};

/// Where a pod finds the token of its service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Where to find the API, and who we are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// This is a pod with a service account.
    InCluster,
    /// A kubeconfig; `None`: those that KUBECONFIG names.
    Kubeconfig(Option<PathBuf>),
}

/// How the API is to be reached; `None`: not at all.
///
/// # Errors
/// When it is asked for and there is no way.
pub fn access(config: &Config) -> Result<Option<Access>, Exit> {
    let given = config.kubeconfig.as_deref();
    let found = || found(given, |name| env::var_os(name).is_some(), Path::new(TOKEN));
    match config.kubernetes {
        Kubernetes::Off => Ok(None),
        Kubernetes::Auto => Ok(found()),
        Kubernetes::On => found().map(Some).ok_or_else(|| {
            let cause = "this is no pod with a service account, and there is no kubeconfig";
            Exit::config("reach Kubernetes", cause).remedy("give --kubeconfig")
        }),
    }
}

fn found(given: Option<&Path>, is_set: impl Fn(&str) -> bool, token: &Path) -> Option<Access> {
    if let Some(path) = given {
        return Some(Access::Kubeconfig(Some(path.to_owned())));
    }
    if is_set("KUBECONFIG") {
        return Some(Access::Kubeconfig(None));
    }
    (is_set("KUBERNETES_SERVICE_HOST") && token.exists()).then_some(Access::InCluster)
}

impl Access {
    /// A client whose answers are bounded in size and time, and told to `health`.
    pub(super) async fn client(&self, health: &Arc<Health>) -> Result<Client, Exit> {
        let mut config = self.config().await?;
        // The watches come back by themselves, and count what went wrong.
        config.default_retry = false;
        let builder = ClientBuilder::try_from(config).map_err(|e| {
            Exit::config("reach Kubernetes", format!("{:#}", anyhow::Error::new(e)))
        })?;
        Ok(builder.with_layer(&Transport::layer(health)).build())
    }

    async fn config(&self) -> Result<kube::Config, Exit> {
        let chain = |e: anyhow::Error| format!("{e:#}");
        let path = match self {
            Self::InCluster => {
                return kube::Config::incluster().map_err(|e| {
                    Exit::config("use the service account", chain(e.into()))
                        .remedy("mount its token, or set --kubernetes off")
                });
            }
            Self::Kubeconfig(path) => path,
        };
        let read = match path {
            Some(path) => Kubeconfig::read_from(path).map(Some),
            None => Kubeconfig::from_env(),
        };
        let shown = path
            .as_ref()
            .map_or("KUBECONFIG".into(), |p| p.to_string_lossy());
        let bad = |e: anyhow::Error| {
            Exit::config(format!("kubeconfig {shown}"), chain(e)).remedy("check --kubeconfig")
        };
        let kubeconfig = read.map_err(|e| bad(e.into()))?.unwrap_or_default();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let config = config.map_err(|e| bad(e.into()))?;
        // The daemon may start no programs once it runs, and their tokens end.
        match program(&config.auth_info) {
            Some(program) if privileges::begun() => {
                let cause = format!("its user gets a token by running `{program}`");
                Err(Exit::config(format!("kubeconfig {shown}"), cause).remedy(
                    "tracer run starts no programs: use a tokenFile, a client certificate or the \
                     token of a service account",
                ))
            }
            _ => Ok(config),
        }
    }
}

/// The program that a user's token comes from.
fn program(user: &AuthInfo) -> Option<String> {
    if let Some(exec) = &user.exec {
        return Some(exec.command.clone().unwrap_or_default());
    }
    let provider = user.auth_provider.as_ref();
    provider.and_then(|provider| provider.config.get("cmd-path").cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_for_tokens_are_known() {
        let user = |text: &str| serde_json::from_str::<AuthInfo>(text).unwrap();
        let exec =
            r#"{"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws"}}"#;
        assert_eq!(program(&user(exec)).as_deref(), Some("aws"));
        let gcp = r#"{"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/gcloud"}}}"#;
        assert_eq!(program(&user(gcp)).as_deref(), Some("/bin/gcloud"));
        assert_eq!(program(&user(r#"{"tokenFile": "/token"}"#)), None);
    }

    #[test]
    fn the_more_explicit_way_wins() {
        let token = env::current_exe().unwrap();
        let given = Path::new("/kube/config");
        let all = |_: &str| true;
        let none = |_: &str| false;
        let in_pod = |name: &str| name == "KUBERNETES_SERVICE_HOST";
        assert_eq!(
            found(Some(given), all, &token),
            Some(Access::Kubeconfig(Some(given.into())))
        );
        assert_eq!(found(None, all, &token), Some(Access::Kubeconfig(None)));
        assert_eq!(found(None, in_pod, &token), Some(Access::InCluster));
        assert_eq!(found(None, none, &token), None);
        let unmounted = Path::new("/nonexistent/token");
        assert_eq!(found(None, in_pod, unmounted), None);
    }
}
