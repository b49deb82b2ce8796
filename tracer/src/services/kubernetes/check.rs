//! Where the health check of a Service's load balancer goes. An AWS classic ELB has
//! one check for all its listeners, which Kubernetes points at the first port, or at
//! `healthCheckNodePort` with `externalTrafficPolicy: Local` (`EnsureLoadBalancer` of
//! Kubernetes' cloud provider for AWS). Others check each port on its own.

use serde_json::Value;

use super::pick::{items, port};
use crate::config::HealthCheckGate;

/// Says which kind of load balancer AWS makes; classic ones need no word.
const AWS_TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-type";
/// Begin the names of annotations that change where a check goes, or are for load
/// balancers that check each port.
const OTHERS: [&str; 5] = [
    "service.beta.kubernetes.io/aws-load-balancer-healthcheck-port",
    "service.beta.kubernetes.io/aws-load-balancer-nlb-",
    "service.beta.kubernetes.io/azure-",
    "cloud.google.com/",
    "networking.gke.io/",
];
/// End the names of classic load balancers; those of network load balancers have
/// the region between the last two words (`….elb.eu-west-1.amazonaws.com`).
const CLASSIC: [&str; 2] = [".elb.amazonaws.com", ".elb.amazonaws.com.cn"];

/// What a Service says about its load balancer's health check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Check {
    /// Node port of the one check, should there be but one.
    only: Option<u16>,
    /// The load balancer is a classic ELB, by its name.
    classic: bool,
}

impl Check {
    pub(super) fn of(object: &Value) -> Self {
        let spec = &object["spec"];
        let balanced = spec["type"] == "LoadBalancer";
        if !balanced || spec.get("loadBalancerClass").is_some() || is_other(object) {
            return Self::default();
        }
        let local = spec["externalTrafficPolicy"] == "Local";
        let own = spec.get("healthCheckNodePort").and_then(port);
        let first = items(spec.get("ports")).next();
        let first = first.and_then(|first| first.get("nodePort")).and_then(port);
        Self {
            only: own.filter(|_| local).or(first),
            classic: is_classic(object),
        }
    }

    /// The only node port that is checked, if so much is known.
    pub(super) fn port(&self, gate: HealthCheckGate) -> Option<u16> {
        match gate {
            HealthCheckGate::Off => None,
            HealthCheckGate::Auto => self.only.filter(|_| self.classic),
            HealthCheckGate::FirstPort => self.only,
        }
    }
}

fn is_other(object: &Value) -> bool {
    let annotations = object.pointer("/metadata/annotations");
    let mut annotations = annotations.and_then(Value::as_object).into_iter().flatten();
    annotations.any(|(name, value)| {
        OTHERS.iter().any(|other| name.starts_with(other)) || (name == AWS_TYPE && *value != "")
    })
}

fn is_classic(object: &Value) -> bool {
    let mut names = items(object.pointer("/status/loadBalancer/ingress")).peekable();
    let classic = |ingress: &Value| {
        let name = ingress["hostname"].as_str().unwrap_or_default();
        CLASSIC.iter().any(|end| name.ends_with(end))
    };
    names.peek().is_some() && names.all(classic)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn elb() -> Value {
        json!({
            "metadata": {"annotations": {"service.beta.kubernetes.io/aws-load-balancer-internal": "true"}},
            "spec": {
                "type": "LoadBalancer",
                "externalTrafficPolicy": "Cluster",
                "ports": [{"nodePort": 30101, "port": 1}, {"nodePort": 30100, "port": 2}],
            },
            "status": {"loadBalancer": {"ingress": [
                {"hostname": "internal-a1b2c3-1234567890.eu-west-1.elb.amazonaws.com"}
            ]}},
        })
    }

    const ALL: [HealthCheckGate; 3] = [
        HealthCheckGate::Off,
        HealthCheckGate::Auto,
        HealthCheckGate::FirstPort,
    ];

    fn ports(object: &Value) -> [Option<u16>; 3] {
        ALL.map(|gate| Check::of(object).port(gate))
    }

    #[test]
    fn a_classic_elb_checks_the_first_port() {
        assert_eq!(ports(&elb()), [None, Some(30101), Some(30101)]);
    }

    #[test]
    fn with_local_traffic_it_checks_the_port_made_for_that() {
        let mut object = elb();
        object["spec"]["healthCheckNodePort"] = json!(32000);
        assert_eq!(ports(&object)[1], Some(30101));
        object["spec"]["externalTrafficPolicy"] = json!("Local");
        assert_eq!(ports(&object)[1], Some(32000));
    }

    #[test]
    fn what_may_check_each_port_is_not_known() {
        let named = |name: &str| {
            let mut object = elb();
            object["status"]["loadBalancer"]["ingress"][0]["hostname"] = json!(name);
            object
        };
        for name in [
            "a1b2-0123456789abcdef.elb.eu-west-1.amazonaws.com",
            "lb.example.com",
            "",
        ] {
            assert_eq!(ports(&named(name)), [None, None, Some(30101)], "{name}");
        }
        let mut pending = elb();
        pending["status"] = json!({"loadBalancer": {}});
        assert_eq!(ports(&pending), [None, None, Some(30101)]);
    }

    #[test]
    fn other_load_balancers_are_never_taken_for_one() {
        for (name, value) in [
            (AWS_TYPE, "nlb"),
            (AWS_TYPE, "external"),
            (
                "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type",
                "ip",
            ),
            (
                "service.beta.kubernetes.io/aws-load-balancer-healthcheck-port",
                "traffic-port",
            ),
            (
                "service.beta.kubernetes.io/azure-load-balancer-internal",
                "true",
            ),
            ("cloud.google.com/neg", "{}"),
        ] {
            let mut object = elb();
            object["metadata"]["annotations"][name] = json!(value);
            assert_eq!(ports(&object), [None; 3], "{name}");
        }
        for (pointer, value) in [
            ("type", json!("NodePort")),
            ("loadBalancerClass", json!("service.k8s.aws/nlb")),
        ] {
            let mut object = elb();
            object["spec"][pointer] = value;
            assert_eq!(ports(&object), [None; 3], "{pointer}");
        }
    }

    #[test]
    fn lies_are_not_known() {
        for ports_told in [
            json!(null),
            json!([]),
            json!([{"nodePort": 70000}, {"nodePort": 30100}]),
        ] {
            let mut object = elb();
            object["spec"]["ports"] = ports_told.clone();
            assert_eq!(ports(&object), [None; 3], "{ports_told}");
        }
    }
}
