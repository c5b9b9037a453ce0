// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-gateway/tandem/config"
)

// daemonSet is what Kubernetes' apps/v1 calls a DaemonSet, as far as ours goes:
// it is read strictly, so that a key in the wrong place is found.
type daemonSet struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   metadata `yaml:"metadata"`
	Spec       struct {
		Selector       selector       `yaml:"selector"`
		UpdateStrategy map[string]any `yaml:"updateStrategy"`
		Template       struct {
			Metadata metadata `yaml:"metadata"`
			Spec     struct {
				NodeSelector  map[string]string `yaml:"nodeSelector"`
				HostNetwork   bool              `yaml:"hostNetwork"`
				DNSPolicy     string            `yaml:"dnsPolicy"`
				Token         bool              `yaml:"automountServiceAccountToken"`
				Grace         int               `yaml:"terminationGracePeriodSeconds"`
				Containers    []container       `yaml:"containers"`
				Volumes       []map[string]any  `yaml:"volumes"`
				PriorityClass string            `yaml:"priorityClassName"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type container struct {
	Name, Image string
	Args        []string
	Ports       []struct {
		Name          string
		ContainerPort uint16 `yaml:"containerPort"`
		HostPort      uint16 `yaml:"hostPort"`
		Protocol      string
	}
	ReadinessProbe  probe                        `yaml:"readinessProbe"`
	LivenessProbe   probe                        `yaml:"livenessProbe"`
	Resources       map[string]map[string]string `yaml:"resources"`
	SecurityContext struct {
		Escalation   bool              `yaml:"allowPrivilegeEscalation"`
		ReadOnly     bool              `yaml:"readOnlyRootFilesystem"`
		Seccomp      map[string]string `yaml:"seccompProfile"`
		Capabilities struct{ Add, Drop []string }
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	Exec         struct{ Command []string }
	InitialDelay int `yaml:"initialDelaySeconds"`
	Period       int `yaml:"periodSeconds"`
	Timeout      int `yaml:"timeoutSeconds"`
	Failures     int `yaml:"failureThreshold"`
}

type metadata struct {
	Name, Namespace string
	Labels          map[string]string
}

type selector struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

type configMap struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   metadata
	Data       map[string]string
}

type podMonitor struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   metadata
	Spec       struct {
		Selector  selector
		Endpoints []struct{ Port, Path, Interval string } `yaml:"podMetricsEndpoints"`
	}
}

func decode(t *testing.T, file string, into any) {
	t.Helper()
	f, err := os.Open(filepath.Join("kubernetes", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// TestKubernetes reads the manifests strictly and checks that they fit together.
func TestKubernetes(t *testing.T) {
	var set daemonSet
	var settings configMap
	var monitor podMonitor
	decode(t, "daemonset.yaml", &set)
	decode(t, "configmap.yaml", &settings)
	decode(t, "podmonitor.yaml", &monitor)

	file := filepath.Join(t.TempDir(), "tandem.yaml")
	write(t, file, settings.Data["tandem.yaml"])
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	pod := set.Spec.Template
	if grace := pod.Spec.Grace; float64(grace) <= c.DrainTimeout.Seconds() {
		t.Errorf("pods are killed after %ds, drain-timeout is %v", grace, c.DrainTimeout)
	}
	for _, labels := range []map[string]string{set.Spec.Selector.MatchLabels, monitor.Spec.Selector.MatchLabels} {
		for k, v := range labels {
			if pod.Metadata.Labels[k] != v {
				t.Errorf("the pod has no label %s=%s", k, v)
			}
		}
	}
	main := pod.Spec.Containers[0]
	ports := map[string]uint16{}
	for _, p := range main.Ports {
		ports[p.Name] = p.ContainerPort
	}
	if want := c.Listeners[0].Listen[0].Port(); ports["convert"] != want {
		t.Errorf("port convert is %d, the listener's %d", ports["convert"], want)
	}
	if want := c.Telemetry.Prometheus.Listen[0].Port(); ports[monitor.Spec.Endpoints[0].Port] != want {
		t.Errorf("the monitored port is %d, Prometheus is answered at %d", ports[monitor.Spec.Endpoints[0].Port], want)
	}
	mounts := map[string]string{}
	for _, m := range main.VolumeMounts {
		mounts[m.Name] = m.MountPath
	}
	if filepath.Join(mounts["config"], "tandem.yaml") != main.Args[2] {
		t.Errorf("the configuration is mounted at %s, and read from %s", mounts["config"], main.Args[2])
	}
	if mounts["run"] != filepath.Dir(c.Admin.Socket) {
		t.Errorf("the root is read-only, and the operators' socket at %s", c.Admin.Socket)
	}
	run(t, program(t), append(main.Args[:1:1], "--help")...)
	run(t, program(t), append(main.ReadinessProbe.Exec.Command[1:], "--help")...)
}

// TestContainerfile checks that what is copied from the tree is there, and that
// no other instruction slipped in.
func TestContainerfile(t *testing.T) {
	f, err := os.Open("container/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	known := []string{"FROM", "WORKDIR", "COPY", "RUN", "ARG", "ENTRYPOINT", "CMD", "STOPSIGNAL"}
	for s := bufio.NewScanner(f); s.Scan(); {
		words := strings.Fields(s.Text())
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if !slices.Contains(known, words[0]) {
			t.Errorf("unknown instruction: %s", s.Text())
		}
		if words[0] != "COPY" || strings.HasPrefix(words[1], "--from=") {
			continue
		}
		for _, source := range words[1 : len(words)-1] {
			if _, err := os.Stat(filepath.Join("..", source)); err != nil {
				t.Error(err)
			}
		}
	}
}
