//! What may be a name, wherever it comes from.

/// Longest name of a namespace, Service or port (DNS label, RFC 1123).
pub(super) const LABEL: usize = 63;
/// Longest name of a pod (DNS subdomain, RFC 1123).
pub(super) const POD: usize = 253;

/// Whether all characters are those of Kubernetes' names: no name can then be
/// mistaken for two, or do anything to a terminal, a query or a shell.
pub(super) fn is_plain(name: &str, longest: usize) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    name.len() <= longest && name.chars().all(plain)
}
