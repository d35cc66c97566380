// SPDX-License-Identifier: EUPL-1.2

package command_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnits holds the units of systemd that we hand out: what they must have, and, where
// systemd is, what it makes of them.
func TestUnits(t *testing.T) {
	for _, part := range []string{"evaluator", "registry", "gateway"} {
		t.Run(part, func(t *testing.T) {
			name := "seinhuis-" + part
			text, err := os.ReadFile("../../../deploy/systemd/" + name + ".service")
			if err != nil {
				t.Fatal(err)
			}
			has := "\n" + string(text)
			for _, line := range []string{
				"ExecStart=/usr/local/bin/" + part + " serve -config /etc/seinhuis/" + part + ".json",
				"User=" + name, "StateDirectory=" + name, "StateDirectoryMode=0700", "UMask=0077",
				"LoadCredentialEncrypted=sealing:/etc/seinhuis/sealing.cred",
				"Restart=on-failure", "TimeoutStopSec=60", "LimitCORE=0", "MemorySwapMax=0",
				"NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "ProtectHome=yes",
				"PrivateTmp=yes", "PrivateDevices=yes", "ProtectKernelTunables=yes", "ProtectKernelModules=yes",
				"ProtectKernelLogs=yes", "ProtectControlGroups=yes", "MemoryDenyWriteExecute=yes", "LockPersonality=yes",
				"RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "SystemCallFilter=@system-service", "SystemCallFilter=~@privileged",
			} {
				if !strings.Contains(has, "\n"+line+"\n") {
					t.Errorf("there is no line %s", line)
				}
			}
			if _, err := exec.LookPath("systemd-analyze"); err != nil {
				t.Skip("UNIT NOT HELD AGAINST SYSTEMD: there is no systemd-analyze; install Debian's package systemd")
			}
			self, err := os.Executable() // verify wants the program to be there
			if err != nil {
				t.Fatal(err)
			}
			unit := filepath.Join(t.TempDir(), name+".service")
			if err := os.WriteFile(unit, []byte(strings.Replace(has, "/usr/local/bin/"+part, self, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			// What it does not know it only warns of, and a word too many is a hole.
			if out, err := exec.Command("systemd-analyze", "--man=no", "verify", unit).CombinedOutput(); err != nil || strings.Contains(string(out), name) {
				t.Errorf("verify: %v\n%s", err, out)
			}
			// 1.2 in systemd 252, of 10 without any of it.
			if out, err := exec.Command("systemd-analyze", "--no-pager", "--offline=true", "--threshold=18", "security", unit).CombinedOutput(); err != nil {
				t.Errorf("security: %v\n%s", err, out)
			}
		})
	}
}
