//! Commands of next steps, with real names where they are known.

use std::net::IpAddr;

use crate::services::{Pod, Table};

/// Shows the Service of a port.
pub(super) fn service(names: &Table, port: u16) -> String {
    match names.port(port) {
        Some(known) => format!("`kubectl -n {} get svc {}`", known.namespace, known.service),
        None => format!("`kubectl get svc -A | grep {port}`"),
    }
}

/// Shows the endpoints of a port's Service.
pub(super) fn endpoints(names: &Table, port: u16) -> String {
    const LABEL: &str = "kubernetes.io/service-name";
    let (namespace, service) = match names.port(port) {
        Some(known) => (&*known.namespace, &*known.service),
        None => ("NAMESPACE", "NAME"),
    };
    format!("`kubectl -n {namespace} get endpointslices -l {LABEL}={service}`")
}

/// Shows the pod with an address.
pub(super) fn pod(pod: Option<&Pod>, address: Option<IpAddr>) -> String {
    match (address, pod) {
        (_, Some(pod)) => format!(
            "`kubectl -n {} get pod {} -o wide`",
            pod.namespace, pod.name
        ),
        (Some(ip), None) => {
            format!("`kubectl get pods -A -o wide --field-selector status.podIP={ip}`")
        }
        (None, None) => "`kubectl get pods -A -o wide`".to_owned(),
    }
}

/// Shows the log of a pod.
pub(super) fn logs(pod: Option<&Pod>) -> String {
    match pod {
        Some(pod) => format!("`kubectl -n {} logs {}`", pod.namespace, pod.name),
        None => "`kubectl -n NAMESPACE logs POD`".to_owned(),
    }
}
