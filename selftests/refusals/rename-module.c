// SPDX-License-Identifier: GPL-2.0
/*
 * rename-module NAME: makes /modules/NAME.ko of /modules/mvirt.ko, the same module by another name.
 * The kernel loads it beside the first, so that mvirt itself finds EL2 taken, and not the loader the
 * name. The name that counts is that in struct module, in the section .gnu.linkonce.this_module.
 */
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest.h"

#define MODULE		"/modules/mvirt.ko"
#define OLD		"mvirt"
/* struct module: name is the first member behind the state and a list head. */
#define NAME_OFFSET	24

/* struct module in the file, or NULL. */
static char *this_module(char *file, size_t size)
{
	Elf64_Ehdr *elf = (Elf64_Ehdr *)file;
	Elf64_Shdr *sections;
	const char *names;

	if (size < sizeof(*elf) || memcmp(elf->e_ident, ELFMAG, SELFMAG) ||
	    elf->e_shoff + elf->e_shnum * sizeof(*sections) > size)
		return NULL;
	sections = (Elf64_Shdr *)(file + elf->e_shoff);
	names = file + sections[elf->e_shstrndx].sh_offset;
	for (int i = 0; i < elf->e_shnum; i++) {
		if (!strcmp(names + sections[i].sh_name, ".gnu.linkonce.this_module"))
			return file + sections[i].sh_offset;
	}
	return NULL;
}

static void write_copy(const char *name, const char *file, size_t size)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/modules/%s.ko", name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, file, size) != (ssize_t)size || close(fd))
		ksft_exit_fail_perror(path);
}

int main(int argc, char **argv)
{
	const char *name = argc == 2 ? argv[1] : "";
	struct stat st;
	char *file, *module;
	int fd;

	ksft_print_header();
	ksft_set_plan(1);
	if (!*name || strlen(name) > strlen(OLD))
		ksft_exit_fail_msg("usage: rename-module NAME, of at most %zu letters\n", strlen(OLD));
	fd = open(MODULE, O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		ksft_exit_fail_perror(MODULE);
	file = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (file == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	module = this_module(file, st.st_size);
	if (!module || strcmp(module + NAME_OFFSET, OLD))
		ksft_exit_fail_msg("no struct module of that name in %s\n", MODULE);
	strncpy(module + NAME_OFFSET, name, strlen(OLD));
	write_copy(name, file, st.st_size);
	ksft_test_result_pass("%s.ko\n", name);
	ksft_finished();
}
