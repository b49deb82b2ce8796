//! What the daemon shows, by curl and openssl.

use anyhow::Result;
use testbed::cleanup::ScratchDir;

use crate::bed::{ALICE, BOB, Bed, TLS, USERS};

/// One daemon, whose file then changes: what it says holds at once.
#[test]
fn tls_and_users() -> Result<()> {
    let headers = "http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\n";
    let bed = Bed::start(&format!("{TLS}{USERS}{headers}"))?;
    for user in [ALICE, BOB, ALICE] {
        let answer = bed.scrape(&["-u", user, "--http2"])?;
        answer.is(200);
        assert_eq!(answer.answer, "200 1.1");
        assert!(answer.head.contains("x-frame-options: deny"), "{answer:?}");
    }
    let without = bed.scrape(&[])?;
    without.is(401);
    assert!(
        without.head.contains("www-authenticate: Basic"),
        "{without:?}"
    );
    for wrong in [
        "alice:wrong",
        "alice:",
        "bob:correct horse",
        "carol:correct horse",
        ":",
    ] {
        bed.scrape(&["-u", wrong])?.is(401);
    }
    // As in exporter-toolkit no page is left out; probes ask by the socket.
    for page in ["", "livez", "readyz", "none"] {
        let url = format!("https://127.0.0.1:9400/{page}");
        bed.curl(&url, &["--cacert", "ca.crt"])?.is(401);
    }
    assert_eq!(bed.health(&[])?, (Some(0), "ready\n".to_owned()));
    assert_eq!(bed.health(&["--live"])?, (Some(0), "alive\n".to_owned()));
    // Whom curl does not know, and what is no TLS.
    let stranger = bed.curl("https://127.0.0.1:9400/metrics", &["-u", ALICE])?;
    stranger.failed();
    assert_eq!(stranger.exit, 60, "{stranger:?}");
    let plain = bed.curl("http://127.0.0.1:9400/metrics", &["-u", ALICE])?;
    assert_ne!(plain.exit, 0, "{plain:?}");
    let said = bed.said();
    assert!(
        said.contains("web config") && said.contains("tls=true users=2"),
        "{said}"
    );
    assert!(said.contains("HTTP/2 is not offered"), "{said}");
    Ok(())
}

fn negotiated(said: &str) -> Option<(String, String)> {
    let line = said.lines().find(|line| line.starts_with("New, TLSv"))?;
    let (version, cipher) = line.strip_prefix("New, ")?.split_once(", Cipher is ")?;
    Some((version.to_owned(), cipher.to_owned()))
}

#[test]
fn versions_and_ciphers() -> Result<()> {
    let bed = Bed::start(TLS)?;
    let talks = |args: &[&str]| -> Result<Option<(String, String)>> {
        Ok(negotiated(&bed.s_client(args)?).filter(|found| found.1 != "(NONE)"))
    };
    // OpenSSL speaks the old ones at this level alone.
    for old in ["-tls1", "-tls1_1"] {
        assert_eq!(talks(&[old, "-cipher", "ALL:@SECLEVEL=0"])?, None, "{old}");
    }
    let version = |args: &[&str]| -> Result<Option<String>> { Ok(talks(args)?.map(|t| t.0)) };
    assert_eq!(version(&[])?.as_deref(), Some("TLSv1.3"));
    assert_eq!(version(&["-tls1_2"])?.as_deref(), Some("TLSv1.2"));
    bed.web(&format!("{TLS}  min_version: TLS13\n"))?;
    assert_eq!(version(&["-tls1_2"])?, None);
    assert_eq!(version(&["-tls1_3"])?.as_deref(), Some("TLSv1.3"));
    let first = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    let second = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let suites = format!("  max_version: TLS12\n  cipher_suites: [{first}, {second}]\n");
    bed.web(&format!("{TLS}{suites}"))?;
    let both = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305";
    let cipher = |list: &str| -> Result<Option<String>> {
        Ok(talks(&["-cipher", list])?.map(|found| found.1))
    };
    // The order is the server's, unless the file says that it is the client's.
    assert_eq!(
        cipher(both)?.as_deref(),
        Some("ECDHE-ECDSA-CHACHA20-POLY1305")
    );
    bed.web(&format!(
        "{TLS}{suites}  prefer_server_cipher_suites: false\n"
    ))?;
    assert_eq!(
        cipher(both)?.as_deref(),
        Some("ECDHE-ECDSA-AES256-GCM-SHA384")
    );
    assert_eq!(cipher("ECDHE-ECDSA-AES128-GCM-SHA256")?, None);
    assert_eq!(version(&["-tls1_3"])?, None);
    bed.web(&format!("{TLS}  curve_preferences: [CurveP384]\n"))?;
    assert_eq!(version(&["-groups", "P-256"])?, None);
    let said = bed.s_client(&["-groups", "P-384"])?;
    assert!(said.contains("Server Temp Key: ECDH, secp384r1"), "{said}");
    Ok(())
}

/// Who answers requests opens nothing outside the folders named at the start.
#[test]
fn files_elsewhere_stay_closed() -> Result<()> {
    let bed = Bed::start(TLS)?;
    bed.scrape(&[])?.is(200);
    let elsewhere = ScratchDir::new()?;
    for file in ["server.crt", "server.key"] {
        std::fs::copy(bed.dir.path().join(file), elsewhere.path().join(file))?;
    }
    let said = bed.said();
    let landlock = said.contains("landlock=full") || said.contains("landlock=partial");
    let there = elsewhere.path().display();
    let files = format!("  cert_file: {there}/server.crt\n  key_file: {there}/server.key\n");
    bed.web(&format!("tls_server_config:\n{files}"))?;
    let answer = bed.scrape(&[])?;
    if landlock {
        answer.failed();
        assert!(
            bed.said().contains("only in folders named at its start"),
            "{}",
            bed.said()
        );
    } else {
        answer.is(200);
    }
    bed.web(TLS)?;
    bed.scrape(&[])?.is(200);
    Ok(())
}

/// The file is read for each request; while it is wrong, nobody is served.
#[test]
fn a_wrong_file_and_its_end() -> Result<()> {
    let bed = Bed::start(&format!("{TLS}{USERS}"))?;
    bed.scrape(&["-u", ALICE])?.is(200);
    bed.web("nonsense: 1\n")?;
    bed.scrape(&["-u", ALICE])?.failed();
    assert_eq!(bed.health(&[])?.0, Some(0));
    bed.web(&format!("{TLS}basic_auth_users:\n  alice: plain\n"))?;
    bed.scrape(&["-u", ALICE])?.failed();
    let said = bed.said();
    let told = |what: &str| said.lines().filter(|line| line.contains(what)).count();
    assert_eq!(told("web config is wrong"), 1, "once, for a change: {said}");
    assert!(said.contains("nonsense"), "{said}");
    bed.web(&format!("{TLS}{USERS}"))?;
    bed.scrape(&["-u", ALICE])?.is(200);
    assert!(bed.said().contains("web config is right again"));
    // Whether there is TLS is decided at the start.
    bed.web(USERS)?;
    bed.scrape(&["-u", ALICE])?.failed();
    Ok(())
}
