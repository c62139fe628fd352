package bootstrap

import "testing"

func TestLiteralPassword(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"postgresql://{{username}}:{{password}}@db:5432/app?sslmode=disable": false,
		"postgresql://{{username}}@db/app":                                   false,
		"postgresql://db:5432/app?email=a@b":                                 false,
		"mongodb+srv://{{username}}:{{password}}@db/admin":                   false,
		"{{username}}:{{password}}@tcp(db:3306)/app?x=a@b":                   false,
		"{{username}}/{{password}}@//db:1521/app":                            false,
		"host=db:5432 user={{username}} password={{password}} email=a@b":     false,
		"host=db user={{username}} password='{{password}}'":                  false,
		"server=db;user id={{username}};password={{password}};port=1433":     false,
		"user=vault@project.iam dbname=app host=project:region:db":           false,
		"":                                  false,
		"postgresql://vault:hunter2@db/app": true,
		"postgresql://{{username}}:hunter2@db/app":    true,
		"postgresql://vault:{{password}}x@db/app":     true,
		"vault:hunter2@tcp(db:3306)/app":              true,
		"vault:hun@ter2@tcp(db:3306)/app":             true,
		"vault/hunter2@//db:1521/app":                 true,
		"host=db user=vault password=hunter2":         true,
		"host=db user=vault PASSWORD = 'hunter 2'":    true,
		"server=db;user id=vault;pwd=hunter2":         true,
		"postgresql://db/app?user=v&password=hunter2": true,
	} {
		if got := literalPassword(address); got != want {
			t.Errorf("literalPassword(%q) = %t", address, got)
		}
	}
}
