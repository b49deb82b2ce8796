use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::*;

/// A Service as the API gives it, shortened.
fn users() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "users", "namespace": "thrift", "resourceVersion": "7"},
        "spec": {
            "type": "LoadBalancer",
            "healthCheckNodePort": 32000,
            "clusterIPs": ["10.96.0.7", "fd00:96::7"],
            "externalIPs": ["198.51.100.4", "nowhere"],
            "ports": [
                {"name": "thrift", "protocol": "TCP", "port": 9090, "targetPort": 9090, "nodePort": 30101},
                {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53, "nodePort": 30053},
                {"name": "internal", "protocol": "TCP", "port": 9091, "targetPort": 9091},
            ],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}, {"hostname": "lb.example"}]}},
    })
}

fn search() -> Value {
    json!({
        "metadata": {
            "name": "search-x7k2p", "namespace": "thrift", "resourceVersion": "8",
            "labels": {"kubernetes.io/service-name": "search"},
        },
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.244.0.2"], "targetRef": {"kind": "Pod", "name": "search-0", "namespace": "thrift"}},
            {"addresses": ["10.244.0.3", "10.244.0.4"], "targetRef": {"kind": "Pod", "name": "search-1"}},
            {"addresses": ["10.0.0.9"]},
            {"addresses": ["10.0.0.8"], "targetRef": {"kind": "Node", "name": "n1"}},
        ],
        "ports": [{"name": "", "port": 9092, "protocol": "TCP"}],
    })
}

#[test]
fn a_service_comes_down_to_its_node_ports() {
    let service = service(&users()).unwrap();
    assert_eq!(service.ports, [(30101, "thrift".into())]);
    assert_eq!(service.health_check_node_port, Some(32000));
    assert_eq!(service.unusable, 0);
    let addresses = ["10.96.0.7", "fd00:96::7", "198.51.100.4", "203.0.113.9"];
    let addresses = addresses.map(|address| address.parse::<IpAddr>().unwrap());
    assert_eq!(*service.addresses, addresses);
    assert_eq!(key(&users()), Some(("thrift".into(), "users".into())));
}

#[test]
fn a_slice_comes_down_to_its_pods() {
    let slice = slice(&search()).unwrap();
    assert_eq!(&*slice.service, "search");
    let pods: Vec<(String, Option<&str>)> = slice
        .endpoints
        .iter()
        .map(|e| (e.address.to_string(), e.pod.as_deref()))
        .collect();
    let expected = [
        ("10.244.0.2", Some("search-0")),
        ("10.244.0.3", Some("search-1")),
        ("10.244.0.4", Some("search-1")),
        ("10.0.0.9", None),
        ("10.0.0.8", None),
    ];
    assert_eq!(pods, expected.map(|(a, n)| (a.to_owned(), n)));
    assert_eq!(slice.ports, [("".into(), 9092)]);
    assert_eq!(slice.unusable, 0);
}

#[test]
fn conditions_that_are_absent_are_those_of_a_pod_that_is_well() {
    let conditions = |of: Value| {
        let mut object = search();
        object["endpoints"][0]["conditions"] = of;
        object["endpoints"][0]["nodeName"] = json!("n1");
        let first = slice(&object).unwrap().endpoints.remove(0);
        assert_eq!(first.node.as_deref(), Some("n1"));
        (first.ready, first.serving, first.terminating)
    };
    for absent in [json!(null), json!({}), json!([]), json!({"ready": "no"})] {
        assert_eq!(conditions(absent), (true, true, false));
    }
    assert_eq!(conditions(json!({"ready": false})), (false, false, false));
    let going = json!({"ready": false, "serving": true, "terminating": true});
    assert_eq!(conditions(going), (false, true, true));
}

#[test]
fn what_cannot_be_right_is_left_out_alone() {
    let long = "x".repeat(64);
    for (pointer, value) in [
        ("/spec/ports/0/nodePort", json!(70_000)),
        ("/spec/ports/0/nodePort", json!(-1)),
        ("/spec/ports/0/nodePort", json!("30101")),
        ("/spec/ports/0/nodePort", json!(30101.5)),
        ("/spec/ports/0/name", json!("thr\"ift\n")),
        ("/spec/ports/0/name", json!(long)),
        ("/spec/ports/0/name", json!({"a": 1})),
    ] {
        let mut object = users();
        *object.pointer_mut(pointer).unwrap() = value.clone();
        object["spec"]["ports"][2]["nodePort"] = json!(30103);
        let service = service(&object).unwrap();
        assert_eq!(service.ports, [(30103, "internal".into())], "{value}");
        assert_eq!(service.unusable, 1, "{value}");
    }
    for (pointer, value) in [
        ("/endpoints/0/addresses/0", json!("10.244.0")),
        ("/endpoints/0/addresses/0", json!(7)),
        ("/endpoints/0/targetRef/name", json!("pod\u{1b}[2J")),
        ("/endpoints/0/targetRef/name", json!("x".repeat(254))),
    ] {
        let mut object = search();
        *object.pointer_mut(pointer).unwrap() = value.clone();
        let slice = slice(&object).unwrap();
        assert_eq!((slice.endpoints.len(), slice.unusable), (4, 1), "{value}");
    }
}

#[test]
fn objects_without_a_possible_name_are_none() {
    for name in [
        json!(null),
        json!(""),
        json!("a/b"),
        json!("x".repeat(64)),
        json!(["a"]),
    ] {
        let mut object = users();
        object["metadata"]["name"] = name.clone();
        assert_eq!(service(&object), None, "{name}");
        let mut object = search();
        object["metadata"]["labels"]["kubernetes.io/service-name"] = name.clone();
        assert_eq!(slice(&object), None, "{name}");
    }
    let mut object = search();
    object["addressType"] = json!("FQDN");
    assert_eq!(slice(&object), None);
}

#[test]
fn node_port_0_is_none() {
    let mut object = users();
    object["spec"]["ports"][0]["nodePort"] = json!(0);
    object["spec"]["healthCheckNodePort"] = json!(0);
    let service = service(&object).unwrap();
    assert_eq!((service.ports.len(), service.unusable), (0, 0));
    assert_eq!(service.health_check_node_port, None);
}

/// Any JSON, with the keys that matter more often than not.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9.:/\u{1b}]{0,70}".prop_map(Value::from),
        Just(json!("Pod")),
        Just(json!("10.0.0.1")),
        (1_u64..70_000).prop_map(Value::from),
    ];
    let keys = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("ports"),
        Just("nodePort"),
        Just("name"),
        Just("namespace"),
        Just("labels"),
        Just(SERVICE_NAME),
        Just("endpoints"),
        Just("conditions"),
        Just("ready"),
        Just("terminating"),
        Just("nodeName"),
        Just("addresses"),
        Just("targetRef"),
        Just("kind"),
        Just("addressType"),
        Just("protocol"),
        Just("healthCheckNodePort"),
        Just("status"),
        Just("annotations"),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((keys.clone(), inner), 0..8).prop_map(|fields| {
                fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_odd_comes_through(object in any_json(), at in any_json()) {
        let mut lying = users();
        lying["spec"]["ports"][0] = at.clone();
        for object in [&object, &lying] {
            if let Some(service) = service(object) {
                for (port, name) in service.ports {
                    prop_assert!(port != 0 && is_plain(&name, name::LABEL));
                }
                prop_assert!(service.health_check_node_port != Some(0));
            }
        }
        let mut lying = search();
        lying["endpoints"][0] = at;
        for object in [&object, &lying] {
            if let Some(slice) = slice(object) {
                prop_assert!(is_plain(&slice.service, name::LABEL));
                for pod in slice.endpoints.iter().filter_map(|e| e.pod.as_ref()) {
                    prop_assert!(!pod.is_empty() && is_plain(pod, name::POD));
                }
                prop_assert!(slice.ports.len() <= PORTS);
                for (name, port) in slice.ports {
                    prop_assert!(port != 0 && is_plain(&name, name::LABEL));
                }
            }
        }
        if let Some((namespace, name)) = key(&object) {
            prop_assert!(is_plain(&namespace, name::LABEL) && is_plain(&name, name::POD));
        }
    }
}
