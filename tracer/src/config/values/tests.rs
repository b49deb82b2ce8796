use super::*;

type Short = Between<100, 600_000>;

#[test]
fn ranges_and_addresses() {
    let cidr = |text: &str| text.parse::<Cidr>().map(|cidr| cidr.0.to_string());
    assert_eq!(cidr("10.0.0.0/8").as_deref(), Ok("10.0.0.0/8"));
    assert_eq!(cidr("fd00::1").as_deref(), Ok("fd00::1/128"));
    let error = cidr("10.0.0.0/99").unwrap_err();
    assert!(error.contains("`10.0.0.0/99` is no range"), "{error}");
}

#[test]
fn durations_are_bounded() {
    assert_eq!(
        "100ms".parse(),
        Ok(Short::try_from("100ms".to_owned()).unwrap())
    );
    assert_eq!(
        "1m 30s".parse::<Short>().unwrap().0,
        Duration::from_secs(90)
    );
    for bad in [
        "",
        "5",
        "-1s",
        "99ms",
        "10m 1s",
        "5 parsecs",
        "99999999999999999999s",
    ] {
        assert!(bad.parse::<Short>().is_err(), "{bad}");
    }
    let error = "1ms".parse::<Short>().unwrap_err();
    assert_eq!(error, "`1ms` is not between 100ms and 10m");
}

#[test]
fn interfaces_are_names_the_kernel_takes() {
    assert!("eth0.100".parse::<Interface>().is_ok());
    for bad in ["", ".", "..", "a/b", "a b", "eth0:1", "0123456789abcdef"] {
        assert!(bad.parse::<Interface>().is_err(), "{bad}");
    }
}

#[test]
fn nodes_are_named_as_in_kubernetes() {
    for good in ["n", "node-1", "ip-10-0-3-18.eu-west-1.compute.internal"] {
        assert!(good.parse::<NodeName>().is_ok(), "{good}");
    }
    let long = "a".repeat(254);
    for bad in [
        "",
        "Node",
        "a_b",
        "-a",
        "a-",
        "a..b",
        "a.",
        "a b",
        "\u{1b}[2J",
        &long,
    ] {
        assert!(bad.parse::<NodeName>().is_err(), "{bad}");
    }
}

#[test]
fn probe_methods_follow_the_classifier() {
    assert!("Health:ping".parse::<ProbeMethod>().is_ok());
    assert!("a_name_of_21_letters_".parse::<ProbeMethod>().is_err());
    assert!("pi ng".parse::<ProbeMethod>().is_err());
}

#[test]
fn flows_are_bounded() {
    assert_eq!("64".parse::<Flows>().map(|flows| flows.0), Ok(64));
    for bad in ["63", "4194305", "-1", "1e3", ""] {
        assert!(bad.parse::<Flows>().is_err(), "{bad}");
    }
}

#[test]
fn sockets_are_absolute_paths_or_none() {
    assert_eq!("none".parse::<Socket>().unwrap().path(), None);
    let at = "/tmp/t.sock".parse::<Socket>().unwrap();
    assert_eq!(at.path(), Some(Path::new("/tmp/t.sock")));
    assert_eq!(Socket::default().path(), Some(Path::new(DEFAULT_SOCKET)));
    for bad in ["", "t.sock", "./t.sock", "/tmp/"] {
        assert!(bad.parse::<Socket>().is_err(), "{bad}");
    }
}

#[test]
fn listen_addresses() {
    assert_eq!(
        ":9400".parse::<Listen>().unwrap().0.to_string(),
        "0.0.0.0:9400"
    );
    assert_eq!(
        "[::1]:1".parse::<Listen>().unwrap().0.to_string(),
        "[::1]:1"
    );
    for bad in ["", ":", ":65536", "9400", "localhost:9400", "1.2.3.4"] {
        assert!(bad.parse::<Listen>().is_err(), "{bad}");
    }
}

#[test]
fn telemetry_paths_are_free_paths() {
    assert!("/a/b-c".parse::<TelemetryPath>().is_ok());
    for bad in [
        "", "/", "metrics", "/livez", "/readyz", "/{x}", "/a?b", "//a", "/a b",
    ] {
        assert!(bad.parse::<TelemetryPath>().is_err(), "{bad}");
    }
}
