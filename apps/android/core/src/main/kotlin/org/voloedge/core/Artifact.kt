package org.voloedge.core

import java.io.File
import java.io.IOException
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.DigestInputStream
import java.security.MessageDigest

/** The folder that `volo-edge convert` wrote, on the device. */
class Artifact private constructor(val folder: File, val manifest: Manifest, val labels: List<String>) {
    val model: File get() = file(manifest.file("model").path)

    /** A file of it, by its path within it. */
    fun file(path: String): File = File(folder, path)

    /** Little-endian float32, as the self-test's tensors and logits are kept. */
    fun floats(path: String): FloatArray {
        val bytes = ByteBuffer.wrap(file(path).readBytes()).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        return FloatArray(bytes.remaining()).also { bytes.get(it) }
    }

    companion object {
        /** The artifact in `folder`, whose hashes were checked when it was installed. */
        fun read(folder: File): Artifact {
            val manifest = Manifest.parse(File(folder, Manifest.NAME).readText())
            val labels = File(folder, manifest.file("labels").path).readText().removeSuffix("\n").split("\n")
            if (labels.size != manifest.numClasses) {
                val counts = "${labels.size} labels for ${manifest.numClasses} classes"
                throw ArtifactException("$counts: convert the model again")
            }
            return Artifact(folder, manifest, labels)
        }

        /**
         * The artifact that `open` gives the files of, copied to `folder` and its hashes checked; at once where it is
         * there already. What is there appears whole or not at all, and another artifact makes room for it first.
         *
         * @param runs whether this app can run what the manifest names, or why not, as a line; null where it can.
         */
        fun install(folder: File, runs: (Manifest) -> String?, open: (String) -> InputStream): Artifact {
            val text = open(Manifest.NAME).use { it.readBytes() }
            val manifest = Manifest.parse(text.decodeToString())
            runs(manifest)?.let { throw ArtifactException(it) }
            val known = File(folder, Manifest.NAME)
            if (known.isFile && known.readBytes().contentEquals(text)) return read(folder)

            val working = File(folder.path + ".partial")
            working.deleteRecursively()
            folder.deleteRecursively()
            for (info in manifest.files.values) copy(info, working, open)
            File(working, Manifest.NAME).writeBytes(text)
            if (!working.renameTo(folder)) throw IOException("cannot write $folder: make room on the device")
            return read(folder)
        }

        private fun copy(info: FileInfo, folder: File, open: (String) -> InputStream) {
            val file = File(folder, info.path)
            if (!file.canonicalFile.startsWith(folder.canonicalFile)) {
                throw ArtifactException("${Manifest.NAME}: the path '${info.path}' leads out of the artifact")
            }
            file.parentFile?.mkdirs()
            val digest = MessageDigest.getInstance("SHA-256")
            DigestInputStream(open(info.path), digest).use { from -> file.outputStream().use { from.copyTo(it) } }
            if (digest.digest().joinToString("") { "%02x".format(it) } != info.sha256) {
                throw ArtifactException("${info.path} is not the file the manifest names: build the app again")
            }
        }
    }
}

/** Why an Android app cannot run an artifact, as a line; null where it can. */
fun whyNotOnAndroid(manifest: Manifest): String? =
    if (manifest.target == "executorch" && manifest.backend == "xnnpack") {
        null
    } else {
        "this is a ${manifest.target} file for ${manifest.backend}, which Android does not run: " +
            "convert with --target executorch"
    }
