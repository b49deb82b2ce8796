//! How the API is reached.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use kube::{Client, client::ClientBuilder, config::AuthInfo};

use super::{Health, kubeconfig, token::Token, transport::Transport};
use crate::{
    config::{Config, Kubernetes},
    exit::Exit,
    files::{self, LARGEST},
};

/// Where a pod finds the token of its service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// And who vouches for the API server.
const AUTHORITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
/// Names kubeconfigs, as a list of paths.
const KUBECONFIG: &str = "KUBECONFIG";

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
    if is_set(KUBECONFIG) {
        return Some(Access::Kubeconfig(None));
    }
    (is_set("KUBERNETES_SERVICE_HOST") && files::metadata(token).is_ok())
        .then_some(Access::InCluster)
}

impl Access {
    /// Tries what can be tried without asking the API.
    ///
    /// # Errors
    /// When a file cannot be read, or is wrong, or names a program to run.
    pub fn check(&self) -> Result<(), Exit> {
        let (config, token) = self.config()?;
        token.map(Token::read).transpose()?;
        ClientBuilder::try_from(config).map(drop).map_err(refused)
    }

    /// A client whose answers are bounded in size and time, and told to `health`; and the token
    /// that it goes by, if that is in a file.
    pub(super) fn client(
        &self,
        health: &Arc<Health>,
    ) -> Result<(Client, Option<Arc<Token>>), Exit> {
        let (mut config, token) = self.config()?;
        // The watches come back by themselves, and count what went wrong.
        config.default_retry = false;
        let token = token.map(Token::read).transpose()?.map(Arc::new);
        let layer = Transport::layer(health, token.clone());
        let builder = ClientBuilder::try_from(config).map_err(refused)?;
        Ok((builder.with_layer(&layer).build(), token))
    }

    /// Where the API is, and the file of the token, which the client does not know of: it would
    /// read it without a deadline.
    fn config(&self) -> Result<(kube::Config, Option<PathBuf>), Exit> {
        let paths = match self {
            Self::InCluster => return in_cluster(),
            Self::Kubeconfig(Some(path)) => vec![path.clone()],
            Self::Kubeconfig(None) => {
                let named = env::var_os(KUBECONFIG).unwrap_or_default();
                let paths = env::split_paths(&named);
                paths.filter(|path| !path.as_os_str().is_empty()).collect()
            }
        };
        let (config, token) = kubeconfig::read(&paths)?;
        // The daemon may start no programs once it runs, and their tokens end.
        if let Some(program) = program(&config.auth_info) {
            let cause = format!("its user gets a token by running `{program}`");
            let what = format!("kubeconfig {}", kubeconfig::shown(&paths));
            return Err(Exit::config(what, cause).remedy(
                "tracer run starts no programs: use a tokenFile, a client certificate or the \
                 token of a service account",
            ));
        }
        Ok((config, token))
    }
}

fn refused(e: kube::Error) -> Exit {
    Exit::config("reach Kubernetes", format!("{:#}", anyhow::Error::new(e)))
}

/// The files are the kubelet's, in memory.
fn in_cluster() -> Result<(kube::Config, Option<PathBuf>), Exit> {
    let bad = |cause: String| {
        Exit::config("use the service account", cause)
            .remedy("mount its token, or set --kubernetes off")
    };
    files::read(Path::new(AUTHORITY), LARGEST)
        .map_err(|e| bad(format!("read {AUTHORITY}: {e}")))?;
    let config = kube::Config::incluster();
    let mut config = config.map_err(|e| bad(format!("{:#}", anyhow::Error::new(e))))?;
    let token = config.auth_info.token_file.take().map(PathBuf::from);
    Ok((config, token))
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
