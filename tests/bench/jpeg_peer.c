// What libjpeg-turbo alone decodes: every JPEG file of a folder, again and again, on a number of
// threads.
//
// Usage: jpeg_peer FOLDER THREADS SECONDS. Prints pictures a second, and a second of processor
// time. The files are read once, before anything is measured.

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <jpeglib.h>

typedef struct Bytes {
    unsigned char *at;
    size_t length;
} Bytes;

static Bytes file[100000];
static int files;
static _Atomic long next, decoded;
static _Atomic int done;

static void read_folder(const char *path)
{
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char inner[4096];
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] == '.' || files == 100000)
            continue;
        if (!strstr(entry->d_name, ".jpg")) {
            read_folder(inner);
            continue;
        }
        FILE *in = fopen(inner, "rb");
        if (!in)
            continue;
        fseek(in, 0, SEEK_END);
        Bytes bytes = {malloc((size_t)ftell(in)), (size_t)ftell(in)};
        rewind(in);
        bytes.length = fread(bytes.at, 1, bytes.length, in);
        fclose(in);
        file[files++] = bytes;
    }
    if (folder)
        closedir(folder);
}

static void *work(void *unused)
{
    unsigned char *pixels = malloc(64 << 20);
    while (!done) {
        const Bytes *bytes = &file[next++ % files];
        struct jpeg_decompress_struct info;
        struct jpeg_error_mgr errors;
        info.err = jpeg_std_error(&errors);
        jpeg_create_decompress(&info);
        jpeg_mem_src(&info, bytes->at, bytes->length);
        jpeg_read_header(&info, TRUE);
        info.out_color_space = JCS_RGB;
        jpeg_start_decompress(&info);
        while (info.output_scanline < info.output_height) {
            JSAMPROW row = pixels + (size_t)info.output_scanline * info.output_width * 3;
            jpeg_read_scanlines(&info, &row, 1);
        }
        jpeg_finish_decompress(&info);
        jpeg_destroy_decompress(&info);
        decoded++;
    }
    free(pixels);
    return unused;
}

static double seconds(clockid_t of)
{
    struct timespec now;
    clock_gettime(of, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    read_folder(argv[1]);
    if (files == 0)
        return 1;
    int threads = atoi(argv[2]);
    pthread_t thread[64];
    double wall = seconds(CLOCK_MONOTONIC), used = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, work, NULL);
    struct timespec wait = {(time_t)atof(argv[3]), 0};
    nanosleep(&wait, NULL);
    done = 1;
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    wall = seconds(CLOCK_MONOTONIC) - wall;
    used = seconds(CLOCK_PROCESS_CPUTIME_ID) - used;
    printf("%.1f %.1f\n", (double)decoded / wall, (double)decoded / used);
    return 0;
}
